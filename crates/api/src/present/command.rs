//! What a gateway says of a command, in both languages. The gateway speaks in short English fragments, joined by semicolons;
//! a fragment that is not known stays as it is.

use super::name;
use crate::view::Name;

/// Whole fragments.
const FRAGMENTS: [(&str, &str); 16] = [
    ("read back", "已回读确认"),
    ("the device confirmed", "设备已应答"),
    ("read back as something else", "回读值与命令不符"),
    ("read back as no number", "回读不到有效数值"),
    ("it came too late", "送达时已过期，未执行"),
    ("too many commands are under way", "正在执行的命令过多"),
    ("too many commands wait for the card", "等待写入存储卡的命令过多"),
    ("the card takes no records", "网关的存储卡写不进记录，不敢执行"),
    (
        "not recorded by the gateway: the card takes no records",
        "网关的存储卡写不进记录，这条结果没有存在网关上",
    ),
    ("the gateway restarted before it knew", "网关在得知结果之前重启了，结果不明"),
    ("a move to the safe value came before its record was kept", "记录写好之前先收到了回到安全状态的命令"),
    ("the gateway has restarted", "网关重启后回到安全状态"),
    ("the link to the centre is down", "与中心的连接已断开"),
    ("it is not safe yet", "上次没能回到安全状态，再试一次"),
    ("too many writes wait for this bus", "等待这条总线的写入过多"),
    ("its bus is ending", "总线正在停用"),
];
/// Fragments around other words: what stands before and behind them, and the same in Chinese.
const FRAMES: [(&str, &str, &str, &str); 7] = [
    ("", " is no output of this gateway", "", " 不是这台网关的输出"),
    ("it has: ", "", "它的输出有：", ""),
    (
        "",
        " does not take commands from the centre: see from_centre",
        "",
        " 没有开放给中心控制（from_centre）",
    ),
    ("", " is not known", "", " 没有新近的读数"),
    ("its longest time of ", " s is over", "最长开启时间 ", " 秒已到"),
    ("not read back: ", "", "没有回读到：", ""),
    ("the device did not confirm: ", "", "设备没有应答：", ""),
];
/// Comparisons: `a <first> b <second> c`.
const COMPARISONS: [(&str, &str, &str, &str, &str); 3] = [
    (" is not between ", " and ", " 不在 ", " 到 ", " 之间"),
    (" is ", ", below ", " 为 ", "，低于 ", ""),
    (" is ", ", above ", " 为 ", "，高于 ", ""),
];

/// What the gateway said, in both languages.
pub fn in_words(detail: &str) -> Name {
    let pieces: Vec<String> = detail.split("; ").map(in_chinese).collect();
    name(&pieces.join("；"), detail)
}

fn in_chinese(fragment: &str) -> String {
    if let Some((_, zh)) = FRAGMENTS.iter().find(|(en, _)| *en == fragment) {
        return (*zh).to_owned();
    }
    if let Some(rest) = fragment.strip_prefix("interlock: ") {
        return format!("联锁：{}", in_chinese(rest));
    }
    for (first, second, zh_first, zh_second, zh_end) in COMPARISONS {
        if let Some((a, rest)) = fragment.split_once(first)
            && let Some((b, c)) = rest.split_once(second)
        {
            return format!("{a}{zh_first}{b}{zh_second}{c}{zh_end}");
        }
    }
    for (before, behind, zh_before, zh_behind) in FRAMES {
        if let Some(inside) = fragment.strip_prefix(before).and_then(|rest| rest.strip_suffix(behind)) {
            return format!("{zh_before}{inside}{zh_behind}");
        }
    }
    fragment.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_gateways_say_is_understood_in_chinese_and_what_is_new_stays_as_it_is() {
        for (detail, zh) in [
            ("read back; the device confirmed", "已回读确认；设备已应答"),
            ("interlock: tank/water_level is 0.3, below 0.5", "联锁：tank/water_level 为 0.3，低于 0.5"),
            ("interlock: water-1/water_ec is 3100, above 3000", "联锁：water-1/water_ec 为 3100，高于 3000"),
            ("interlock: tank/water_level is not known", "联锁：tank/water_level 没有新近的读数"),
            ("interlock: the link to the centre is down", "联锁：与中心的连接已断开"),
            ("101 is not between 0 and 100", "101 不在 0 到 100 之间"),
            (
                "v/valve does not take commands from the centre: see from_centre",
                "v/valve 没有开放给中心控制（from_centre）",
            ),
            (
                "v/x is no output of this gateway; it has: v/valve",
                "v/x 不是这台网关的输出；它的输出有：v/valve",
            ),
            ("its longest time of 600 s is over", "最长开启时间 600 秒已到"),
            ("not read back: no answer; the device confirmed", "没有回读到：no answer；设备已应答"),
            ("something new", "something new"),
        ] {
            assert_eq!(in_words(detail), name(zh, detail), "{detail}");
        }
    }
}
