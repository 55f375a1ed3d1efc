// The parts of ECharts that are used, and no others.

import { LineChart } from "echarts/charts";
import { DataZoomInsideComponent, GridComponent, MarkAreaComponent, MarkLineComponent, TooltipComponent } from "echarts/components";
import { init, use } from "echarts/core";
import { CanvasRenderer } from "echarts/renderers";

use([LineChart, GridComponent, TooltipComponent, MarkLineComponent, MarkAreaComponent, DataZoomInsideComponent, CanvasRenderer]);

export { init };
export type { EChartsType } from "echarts/core";
