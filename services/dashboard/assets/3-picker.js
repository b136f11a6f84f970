// Which cards the Live page shows, and in which order: chosen in a dialog, kept in the address.
(function () {
  "use strict";

  let picked = null; // sensors in order; null: all, in their usual order
  let changed = () => {};

  function parse(text) {
    return text ? text.split(",").map(decodeURIComponent) : null;
  }

  function format() {
    return picked ? picked.map(encodeURIComponent).join(",") : "";
  }

  function cards() {
    return Array.from(document.querySelectorAll("#cards > [data-sensor]"));
  }

  /** All sensors of the page: those that are picked in their order, then the others in theirs. */
  function inOrder() {
    const usual = cards().sort((a, b) => a.dataset.place - b.dataset.place).map((card) => card.dataset.sensor);
    const first = (picked || []).filter((sensor) => usual.includes(sensor));
    return [...first, ...usual.filter((sensor) => !first.includes(sensor))];
  }

  /** Show and order the cards as chosen. */
  function apply() {
    for (const card of cards()) {
      const place = picked ? picked.indexOf(card.dataset.sensor) : Number(card.dataset.place);
      const isHidden = place < 0;
      if (card.hidden !== isHidden) card.hidden = isHidden;
      if (card.style.order !== String(place)) card.style.order = place;
    }
  }

  function set(sensors) {
    picked = sensors;
    apply();
    changed();
  }

  function open() {
    const dialog = document.getElementById("picker");
    fill();
    dialog.showModal();
  }

  function fill(focused) {
    const order = inOrder();
    const shown = new Set(picked || order);
    document.getElementById("picker-list").replaceChildren(...order.map((sensor, place) => item(sensor, place, order, shown)));
    if (focused) document.querySelector(`#picker-list [data-focus="${CSS.escape(focused)}"]`)?.focus();
  }

  function titleOf(sensor) {
    const card = cards().find((one) => one.dataset.sensor === sensor);
    return card ? card.dataset.title : sensor;
  }

  function item(sensor, place, order, shown) {
    const row = document.createElement("li");
    const label = document.createElement("label");
    const box = document.createElement("input");
    box.type = "checkbox";
    box.checked = shown.has(sensor);
    box.dataset.focus = `${sensor} box`;
    box.onchange = () => {
      box.checked ? shown.add(sensor) : shown.delete(sensor);
      keep(order, shown, box.dataset.focus);
    };
    label.append(box, titleOf(sensor));
    row.append(label, mover("up", sensor, place, order, shown, place - 1), mover("down", sensor, place, order, shown, place + 1));
    return row;
  }

  function mover(word, sensor, place, order, shown, target) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = `icon-button icon-${word}`;
    button.setAttribute("aria-label", `Move ${titleOf(sensor)} ${word}`);
    button.disabled = target < 0 || target >= order.length;
    button.dataset.focus = `${sensor} ${word}`;
    button.onclick = () => {
      const moved = order.slice();
      moved.splice(place, 1);
      moved.splice(target, 0, sensor);
      keep(moved, shown, button.dataset.focus);
    };
    return button;
  }

  function keep(order, shown, focused) {
    set(order.filter((sensor) => shown.has(sensor)));
    fill(focused);
  }

  document.addEventListener("click", (event) => {
    if (event.target.closest("#pick-cards")) open();
    if (event.target.closest("#picker-all")) {
      set(null);
      fill();
    }
    if (event.target.closest("#picker-close") || event.target.id === "picker") document.getElementById("picker").close();
  });

  window.picker = {
    /** Take the choice from the address; `whenChanged` is called when the viewer makes another. */
    start(text, whenChanged) {
      picked = parse(text);
      changed = whenChanged;
    },
    format,
    apply,
    sensors: () => picked,
  };
})();
