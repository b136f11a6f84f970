-- Roles and the database, made by the superuser before the migrations; may run again, and then sets new passwords.
-- psql variables: database, and one <role>_password for each role.
\set ON_ERROR_STOP on
SELECT format('CREATE ROLE %I LOGIN', name)
FROM unnest(ARRAY['owner', 'stream_writer', 'ingest_reader', 'dashboard', 'grafana_reader', 'exporter']) AS name
WHERE name NOT IN (SELECT rolname FROM pg_roles) \gexec
ALTER ROLE owner PASSWORD :'owner_password';
ALTER ROLE stream_writer PASSWORD :'stream_writer_password';
ALTER ROLE ingest_reader PASSWORD :'ingest_reader_password';
ALTER ROLE dashboard PASSWORD :'dashboard_password';
ALTER ROLE grafana_reader PASSWORD :'grafana_reader_password';
ALTER ROLE exporter PASSWORD :'exporter_password';
GRANT pg_monitor TO exporter;

SELECT format('CREATE DATABASE %I OWNER owner', :'database')
WHERE :'database' NOT IN (SELECT datname FROM pg_database) \gexec
REVOKE ALL ON DATABASE :"database" FROM PUBLIC;
GRANT CONNECT ON DATABASE :"database" TO stream_writer, ingest_reader, dashboard, grafana_reader, exporter;
GRANT TEMPORARY ON DATABASE :"database" TO stream_writer;
REVOKE CONNECT ON DATABASE postgres, template1 FROM PUBLIC;
GRANT CONNECT ON DATABASE postgres TO exporter;
\connect :"database"
ALTER SCHEMA public OWNER TO owner;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO stream_writer, ingest_reader, dashboard, grafana_reader, exporter;
