// The page of a batch: means over its cases, and a row a case.

const cases = data.cases;
by("facts").textContent = Object.entries(data.counts).map(([status, count]) => `${count} ${status}`).join(" · ");

const complete = cases.filter((one) => one.status === "complete");
const methods = [...new Set(complete.flatMap((one) => Object.keys(one.metrics)))];
const means = Object.fromEntries(methods.map((method) => {
  const rows = complete.map((one) => one.metrics[method] ?? {});
  return [method, Object.fromEntries(columnsOf(rows).map((key) => {
    const values = rows.map((row) => row[key]).filter(Number.isFinite);
    return [key, values.length ? values.reduce((a, b) => a + b) / values.length : null];
  }))];
}));
if (methods.length) fillMetrics(by("means"), means);

const shown = methods.length ? columnsOf(complete.flatMap((one) => Object.values(one.metrics))).find((key) => key !== "seconds") ?? "seconds" : null;
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
