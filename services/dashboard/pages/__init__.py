"""What people look at: the layout of each page, without data."""
