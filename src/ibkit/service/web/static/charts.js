// Lines over days, by uPlot. Points stand in a JSON block of the page: {"days": ["2026-11-20", …], "values": […]}.
//
// Colours are those of the page's sheet, and are read anew when the theme changes; the size follows the card. What the
// chart says in words stands in its label, and each day in the table below it.

const drawn = new Map();

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

const short = new Intl.NumberFormat("en-US", { notation: "compact", maximumFractionDigits: 2 });
const whole = new Intl.NumberFormat("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 });

function options(place, points, readout) {
  const line = colour("--accent");
  const axis = { stroke: colour("--soft"), grid: { stroke: colour("--rule"), width: 1 }, ticks: { stroke: colour("--rule"), width: 1 }, font: "12px system-ui, sans-serif" };
  return {
    width: Math.max(200, place.clientWidth),
    height: 260,
    legend: { show: false },
    cursor: { y: false, points: { size: 8, fill: line, stroke: line } },
    scales: { x: { time: true } },
    series: [{}, { stroke: line, width: 2, fill: colour("--tint") + "99", points: { show: points.days.length < 30 } }],
    axes: [axis, { ...axis, size: 64, values: (_, ticks) => ticks.map((each) => short.format(each)) }],
    hooks: { setCursor: [(chart) => tell(chart, place, points, readout)] },
  };
}

function tell(chart, place, points, readout) {
  const at = chart.cursor.idx;
  if (!readout || at === null || at === undefined) return;
  readout.textContent = `${points.days[at]} · ${whole.format(points.values[at])} ${place.dataset.currency || ""}`;
}

function draw(place) {
  const block = document.getElementById(place.dataset.chart);
  if (!block || typeof uPlot === "undefined") return;
  const points = JSON.parse(block.textContent);
  const readout = document.querySelector(`[data-chart-readout="${place.id}"]`);
  drawn.get(place)?.destroy();
  const days = points.days.map((day) => Date.parse(`${day}T12:00:00Z`) / 1000);
  drawn.set(place, new uPlot(options(place, points, readout), [days, points.values], place));
}

function step(place, by) {
  const chart = drawn.get(place);
  if (!chart) return;
  const last = chart.data[0].length - 1;
  const at = Math.min(last, Math.max(0, (chart.cursor.idx ?? last) + by));
  chart.setCursor({ left: chart.valToPos(chart.data[0][at], "x"), top: chart.valToPos(chart.data[1][at], "y") });
}

const places = [...document.querySelectorAll("[data-chart]")];
function drawAll() { for (const place of places) draw(place); }
for (const place of places) {
  new ResizeObserver(() => drawn.get(place)?.setSize({ width: Math.max(200, place.clientWidth), height: 260 })).observe(place);
  place.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1, PageUp: -20, PageDown: 20 }[event.key];
    if (by) { event.preventDefault(); step(place, by); }
  });
}
new MutationObserver(drawAll).observe(document.documentElement, { attributeFilter: ["data-theme"] });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
drawAll();
