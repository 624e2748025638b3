import uPlot from "/vendor/uplot/uPlot.esm.js";
import { element } from "../panel.js";

const names = ["Ash", "Birch", "Cedar"];
const kept = 480;
const colour = (name) => () => getComputedStyle(document.documentElement).getPropertyValue(name);

export function prices(panel) {
  const place = panel.find(".chart");
  const latest = panel.find(".latest");
  let times, series, chart, isDrawing;

  function reset() {
    times = [];
    series = names.map(() => []);
  }

  function draw() {
    isDrawing = false;
    chart ??= plot(place);
    chart.setData([times, ...series]);
    latest.replaceChildren(
      ...names.map((name, index) => element("li", `${name} ${series[index].at(-1).toFixed(2)}`, `series-${index + 1}`)),
    );
  }

  panel.onToggle(() => {
    panel.open(panel.wire.watch("/prices"), {
      // A new connection of this kind begins with all that the server holds; one that resumes has `gap` if it missed any.
      gap: reset,
      prices: (event) => {
        const { time, prices } = JSON.parse(event.data);
        times.push(time / 1_000);
        prices.forEach((price, index) => series[index].push(price));
        if (times.length > kept) for (const column of [times, ...series]) column.shift();
        // A replay of a thousand events is drawn once.
        if (!isDrawing) requestAnimationFrame(draw);
        isDrawing = true;
      },
    });
    reset();
  });
}

function plot(place) {
  const axis = {
    stroke: colour("--muted"),
    grid: { stroke: colour("--line") },
    ticks: { show: false },
    font: "12px system-ui",
  };
  const size = () => ({ width: place.clientWidth, height: place.clientHeight });
  const chart = new uPlot(
    {
      ...size(),
      legend: { show: false },
      cursor: { show: false },
      axes: [
        { ...axis, space: 90, size: 30, values: [[1, "{HH}:{mm}:{ss}", null, null, null, null, null, null, 1]] },
        { ...axis, size: 44 },
      ],
      series: [
        {},
        ...names.map((label, index) => ({
          label,
          width: 2,
          points: { show: false },
          stroke: colour(`--series-${index + 1}`),
        })),
      ],
    },
    [[]],
    place,
  );
  new ResizeObserver(() => chart.setSize(size())).observe(place);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => chart.redraw());
  return chart;
}
