// The phone as a body that turns as it is held, seen from the south and a little above: CSS only, no WebGL.
(function () {
  "use strict";

  const FACES = ["front", "back", "left", "right", "top", "bottom"];

  /** The turn from the phone to the world as a unit quaternion [w, x, y, z]; null where the sensor tells none. */
  function attitude(latest) {
    const of = (name) => latest[name] && latest[name][1];
    const q = ["qw", "qx", "qy", "qz"].map(of);
    if (q.every(Number.isFinite)) {
      const length = Math.hypot(...q);
      return length > 0 ? q.map((value) => value / length) : null;
    }
    const [yaw, pitch, roll] = ["yaw", "pitch", "roll"].map(of);
    if (![yaw, pitch, roll].every(Number.isFinite)) return null;
    const about = (axis, angle) => [Math.cos(angle / 2), ...[0, 1, 2].map((n) => (n === axis ? Math.sin(angle / 2) : 0))];
    return multiply(multiply(about(2, yaw), about(0, pitch)), about(1, roll));
  }

  /** First `b`, then `a`. */
  function multiply(a, b) {
    return [
      a[0] * b[0] - a[1] * b[1] - a[2] * b[2] - a[3] * b[3],
      a[0] * b[1] + a[1] * b[0] + a[2] * b[3] - a[3] * b[2],
      a[0] * b[2] - a[1] * b[3] + a[2] * b[0] + a[3] * b[1],
      a[0] * b[3] + a[1] * b[2] - a[2] * b[1] + a[3] * b[0],
    ];
  }

  /**
   * The CSS transform of that attitude. Phone: right, top edge, out of the screen. World: east, north, up.
   * CSS: right, down, towards the viewer, who looks north.
   */
  function transform([w, x, y, z]) {
    const r = [
      [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
      [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
      [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ];
    const rows = [r[0], r[2].map((value) => -value), r[1].map((value) => -value)];
    const columns = [0, 1, 2].map((n) => rows.map((row) => (n === 1 ? -row[n] : row[n])));
    return `matrix3d(${[...columns.flatMap((column) => [...column.map((value) => value.toFixed(5)), 0]), 0, 0, 0, 1].join(",")})`;
  }

  /** Turn the body in `holder` as `latest` says; the body is made when first needed. */
  function turn(holder, latest) {
    const q = attitude(latest);
    holder.hidden = !q;
    if (!q) return;
    const phone = holder.querySelector(".phone") || build(holder);
    phone.style.transform = transform(q);
  }

  function build(holder) {
    const scene = document.createElement("div");
    scene.className = "scene";
    const floor = document.createElement("div");
    floor.className = "floor";
    floor.append("N");
    const phone = document.createElement("div");
    phone.className = "phone";
    for (const face of FACES) {
      const side = document.createElement("div");
      side.className = `face ${face}`;
      phone.append(side);
    }
    scene.append(floor, phone);
    holder.append(scene);
    return phone;
  }

  window.body = { attitude, transform, turn };
})();
