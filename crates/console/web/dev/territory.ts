// A fake network for development: the counties and core towns of Zhangye, with invented bases.

import type { Level, Node } from "../src/api/view.ts";

type Row = [id: string, level: Level, parent: string | null, zh: string, en: string, lon: number, lat: number, position?: Node["position"]];

const ROWS: Row[] = [
  ["zhangye", "city", null, "张掖市", "Zhangye", 100.45, 38.93],
  ["ganzhou", "county", "zhangye", "甘州区", "Ganzhou", 100.45, 38.93],
  ["linze", "county", "zhangye", "临泽县", "Linze", 100.17, 39.13],
  ["gaotai", "county", "zhangye", "高台县", "Gaotai", 99.82, 39.38],
  ["shandan", "county", "zhangye", "山丹县", "Shandan", 101.08, 38.78],
  ["minle", "county", "zhangye", "民乐县", "Minle", 100.82, 38.43],
  ["sunan", "county", "zhangye", "肃南裕固族自治县", "Sunan", 99.62, 38.83],
  ["dangzhai", "town", "ganzhou", "党寨镇", "Dangzhai", 100.5, 38.86, "schematic"],
  ["liaoquan", "town", "linze", "蓼泉镇", "Liaoquan", 100.07, 39.2, "schematic"],
  ["heiquan", "town", "gaotai", "黑泉镇", "Heiquan", 99.68, 39.5, "schematic"],
  ["xinba", "town", "gaotai", "新坝镇", "Xinba", 99.72, 39.17, "schematic"],
  ["qingquan", "town", "shandan", "清泉镇", "Qingquan", 101.12, 38.8, "schematic"],
  ["chenhu", "town", "shandan", "陈户镇", "Chenhu", 101.26, 38.7, "schematic"],
  ["hongshui", "town", "minle", "洪水镇", "Hongshui", 100.86, 38.45, "schematic"],
];

const BASES: [town: string, zh: string, en: string][] = [
  ["dangzhai", "党寨万亩有机蔬菜基地", "Dangzhai Ten-thousand-mu Base"],
  ["dangzhai", "陈寨日光温室基地", "Chenzhai Greenhouse Base"],
  ["dangzhai", "下寨高原夏菜基地", "Xiazhai Summer Vegetable Base"],
  ["dangzhai", "廿里堡育苗基地", "Nianlipu Seedling Base"],
  ["liaoquan", "湾子村有机番茄基地", "Wanzi Tomato Base"],
  ["liaoquan", "墩子村制种基地", "Dunzi Seed Base"],
  ["liaoquan", "双泉露地蔬菜基地", "Shuangquan Open-field Base"],
  ["heiquan", "黑泉娃娃菜基地", "Heiquan Baby Cabbage Base"],
  ["heiquan", "十坝辣椒基地", "Shiba Pepper Base"],
  ["xinba", "新坝戈壁农业基地", "Xinba Gobi Farm"],
  ["xinba", "暖泉设施蔬菜基地", "Nuanquan Greenhouse Base"],
  ["qingquan", "清泉有机菜园", "Qingquan Organic Garden"],
  ["qingquan", "郇庄日光温室基地", "Xunzhuang Greenhouse Base"],
  ["chenhu", "陈户高原夏菜基地", "Chenhu Summer Vegetable Base"],
  ["chenhu", "范营洋葱基地", "Fanying Onion Base"],
  ["hongshui", "洪水大蒜基地", "Hongshui Garlic Base"],
  ["hongshui", "益民有机蔬菜基地", "Yimin Organic Base"],
];

const place = ([id, level, parent, zh, en, longitude, latitude, position = "seat"]: Row): Node => ({
  id, level, parent, name: { zh, en }, codes: [], longitude, latitude, position, area_mu: null, gateways: [],
});

const towns = ROWS.map(place);
const bases = BASES.map(([town, zh, en], k): Node => {
  const at = towns.find((t) => t.id === town)!;
  const turn = k * 2.4;
  return {
    ...place([`base-${k + 1}`, "base", town, zh, en, at.longitude! + 0.035 * Math.cos(turn), at.latitude! + 0.026 * Math.sin(turn), "schematic"]),
    area_mu: 120 + ((k * 731) % 900),
    gateways: k % 5 === 0 ? [`gw-${k + 1}-01`, `gw-${k + 1}-02`] : [`gw-${k + 1}-01`],
  };
});

export const nodes: Node[] = [...towns, ...bases];
export const node = (id: string) => nodes.find((n) => n.id === id);
export const below = (id: string): Node[] => nodes.filter((n) => n.parent === id);
export const basesUnder = (id: string): Node[] =>
  node(id)?.level === "base" ? [node(id)!] : below(id).flatMap((n) => basesUnder(n.id));
export function path(id: string): Node[] {
  const way: Node[] = [];
  for (let at = node(id); at; at = at.parent ? node(at.parent) : undefined) way.unshift(at);
  return way;
}
