use super::*;
use sitian_profile::{Catalogue, builtin, catalogue_text};

fn profile(id: &str) -> Profile {
    let catalogue = Catalogue::parse("measurements.toml", catalogue_text()).unwrap();
    let file = format!("{id}.toml");
    let (file, text) = builtin().iter().find(|(name, _)| *name == file).unwrap();
    Profile::parse(file, text, &catalogue).unwrap()
}

fn check(profile: &Profile, expected: &[(u16, u16)]) {
    let found: Vec<_> =
        blocks(profile, &profile.points).iter().map(|block| (block.address, block.count)).collect();
    assert_eq!(found, expected, "{}", profile.id);
}

#[test]
fn neighbouring_registers_share_a_request() {
    check(&profile("renke-soil-7in1"), &[(0, 7)]);
    check(&profile("comwintop-weather"), &[(0x01F4, 14)]);
    check(&profile("qdy30a"), &[(2, 3)]);
    check(&profile("yosemitech-y504"), &[(0x2600, 6)]);
    check(&profile("jxct-soil-npk"), &[(0x06, 1), (0x12, 4), (0x1E, 3)]);
    check(&profile("waveshare-relay-8"), &[(0, 8)]);
    check(&profile("yosemitech-y532"), &[(0x1200, 2), (0x2400, 2), (0x2800, 2)]);
}

#[test]
fn gaps_limits_and_unreadable_registers_part_requests() {
    let jxct = profile("jxct-soil-npk");
    let function = Function::Holding;
    check(&Profile { gap_max: 40, ..jxct.clone() }, &[(0x06, 27)]);
    check(&Profile { gap_max: 40, registers_max: 16, ..jxct.clone() }, &[(0x06, 16), (0x1E, 3)]);
    let hole = |first, last| vec![Range { function, first, last }];
    check(&Profile { gap_max: 40, unreadable: hole(7, 7), ..jxct.clone() }, &[(0x06, 1), (0x12, 15)]);
    check(&Profile { gap_max: 0, ..jxct.clone() }, &[(0x06, 1), (0x12, 2), (0x15, 1), (0x1E, 3)]);
    let elsewhere = vec![Range { function: Function::Input, first: 7, last: 7 }];
    check(&Profile { gap_max: 40, unreadable: elsewhere, ..jxct }, &[(0x06, 27)]);
    check(&Profile { registers_max: 2, ..profile("renke-soil-7in1") }, &[(0, 2), (2, 2), (4, 2), (6, 1)]);
}

#[test]
fn points_are_grouped_by_interval_and_unknown_ones_left_out() {
    let points = [(0, 0, 1000), (1, 1, 10_000), (2, 2, 1000), (3, 99, 1000)];
    let device = DevicePlan {
        unit: 1,
        profile: Arc::new(profile("renke-soil-7in1")),
        points: points
            .map(|(point, profile_point, interval_ms)| PointPlan { point, profile_point, interval_ms })
            .into(),
        timeout_ms: 500,
        retries: 1,
        priority: 0,
    };
    let found: Vec<_> = rounds(&device)
        .into_iter()
        .map(|round| {
            (round.interval_ms, round.blocks.len(), round.points.iter().map(|p| p.point).collect::<Vec<_>>())
        })
        .collect();
    assert_eq!(found, [(1000, 1, vec![0, 2]), (10_000, 1, vec![1])]);
}

#[test]
fn a_new_process_leaves_a_line_alone_until_no_reply_to_an_earlier_one_can_come() {
    for (timeouts_ms, hold_off, expected) in
        [(&[200, 300][..], true, 1_000), (&[200, 900], true, 1_800), (&[], true, 1_000), (&[900], false, 0)]
    {
        let profile = Arc::new(profile("renke-soil-7in1"));
        let device = |timeout_ms: &u32| DevicePlan {
            unit: 1,
            profile: profile.clone(),
            points: Vec::new(),
            timeout_ms: *timeout_ms,
            retries: 0,
            priority: 0,
        };
        let devices = timeouts_ms.iter().map(device).collect();
        assert_eq!(BusPlan { devices, pause_ms: 0, hold_off }.settle_ms(), expected, "{timeouts_ms:?}");
    }
}
