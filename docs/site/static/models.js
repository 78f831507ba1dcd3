// The table of models: filters, sorts and shows the lines of models-data.js. No dependencies.
(() => {
  "use strict";
  const STEP = 50;
  const form = document.getElementById("zoo-filters");
  const table = document.getElementById("zoo-models");
  const count = document.getElementById("zoo-count");
  const more = document.getElementById("zoo-more");
  const { columns, rows } = window.zooModels;
  const models = rows.map((values) => {
    const model = Object.fromEntries(columns.map((name, index) => [name, values[index]]));
    model.text = [model.name, model.family, model.task, model.license].join(" ").toLowerCase();
    return model;
  });
  const heads = [...table.tHead.rows[0].cells];
  const numeric = new Set(["params", "size", "top1"]);
  let shown = STEP;
  let order = { key: "name", sign: 1 };

  const size = (model) => {
    if (model.size === null) return "";
    const megabytes = model.size / 1e6;
    const digits = megabytes < 10 ? 1 : 0;
    const text = megabytes.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
    return `${model.estimated ? "≈ " : ""}${text} MB`;
  };
  const words = {
    params: (model) => model.params.toLocaleString("en"),
    size,
    top1: (model) => (model.top1 === null ? "" : model.top1.toFixed(2)),
  };

  const chosen = () => {
    const asked = Object.fromEntries(new FormData(form));
    const parts = asked.q.toLowerCase().split(/\s+/).filter(Boolean);
    return models.filter(
      (model) =>
        parts.every((part) => model.text.includes(part)) &&
        ["task", "family", "license"].every((name) => !asked[name] || model[name] === asked[name]) &&
        (asked.size === "" || (model.size !== null && model.size <= 1e6 * Number(asked.size))) &&
        (asked.top1 === "" || (model.top1 !== null && model.top1 >= Number(asked.top1)))
    );
  };

  const compare = (a, b) => {
    const [x, y] = [a[order.key], b[order.key]];
    if (x === null || y === null) return (x === null) - (y === null); // the unknown last, whichever the order
    const found = numeric.has(order.key) ? x - y : x.localeCompare(y, "en", { numeric: true });
    return found * order.sign || a.name.localeCompare(b.name, "en", { numeric: true });
  };

  const line = (model) => {
    const row = document.createElement("tr");
    for (const head of heads) {
      const key = head.dataset.key;
      const cell = document.createElement(key === "name" ? "th" : "td");
      if (key === "name") {
        cell.scope = "row";
        const link = document.createElement("a");
        link.href = `${model.family}.html#${encodeURIComponent(model.name)}`;
        link.textContent = model.name;
        cell.append(link);
      } else {
        cell.textContent = words[key] ? words[key](model) : model[key];
        if (numeric.has(key)) cell.className = "zoo-number";
      }
      row.append(cell);
    }
    return row;
  };

  const show = () => {
    const found = chosen().sort(compare);
    table.tBodies[0].replaceChildren(...found.slice(0, shown).map(line));
    const visible = Math.min(shown, found.length);
    count.textContent = `${found.length.toLocaleString("en")} of ${models.length.toLocaleString("en")} models, ${visible} shown.`;
    more.hidden = visible === found.length;
    for (const head of heads) {
      if (head.dataset.key === order.key) head.setAttribute("aria-sort", order.sign > 0 ? "ascending" : "descending");
      else head.removeAttribute("aria-sort");
    }
  };
  const anew = () => {
    shown = STEP;
    show();
  };

  for (const head of heads) {
    head.firstElementChild.addEventListener("click", () => {
      const key = head.dataset.key;
      // Best scores first: that is what one asks for.
      order = order.key === key ? { key, sign: -order.sign } : { key, sign: key === "top1" ? -1 : 1 };
      anew();
    });
  }
  more.addEventListener("click", () => {
    const first = shown;
    shown += 4 * STEP;
    show();
    table.tBodies[0].rows[first].querySelector("a").focus(); // the button may be gone
  });
  form.addEventListener("input", anew);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(anew));
  // A link may ask: models/index.html?size=20&task=image-classification
  for (const [name, value] of new URLSearchParams(location.search)) {
    if (form.elements[name]) form.elements[name].value = value;
  }
  show();
})();
