// The page of a batch: means over its cases, and a row a case.

const cases = data.cases;
by("facts").textContent = Object.entries(data.counts).map(([status, count]) => `${count} ${status}`).join(" · ");

const complete = cases.filter((one) => one.status === "complete");
const methods = [...new Set(complete.flatMap((one) => Object.keys(one.metrics)))];
for (const kind of data.means) {
  const table = element("table", {}, element("caption", { textContent: `${kind.name} (${kind.cases})` }));
  fillMetrics(table, kind.metrics);
  by("means").append(element("div", { className: "scroll" }, table));
}

const shown = methods.length ? columnsOf(complete.flatMap((one) => Object.values(one.metrics))).find((key) => METRICS[key]?.best) ?? "seconds" : null;
const heads = ["case", "status", ...methods.map((method) => `${method}, ${titleOf(shown)}`), ""];
by("cases").append(
  element("thead", {}, element("tr", {}, ...heads.map((textContent) => element("th", { scope: "col", textContent })))),
  element("tbody", {}, ...cases.map((one) => element("tr", {},
    element("th", { scope: "row" }, one.page ? element("a", { href: one.page, textContent: one.name }) : one.name),
    element("td", { textContent: one.status, className: one.status }),
    ...methods.map((method) => element("td", { textContent: numberOf(shown, one.metrics[method]?.[shown]) })),
    element("td", { textContent: one.reason, className: "word" }),
  ))),
);
