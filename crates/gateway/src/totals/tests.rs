use sitian_model::Quality;

use super::*;
use crate::plan::Plan;
use crate::settings::{DEFAULTS, Settings};

fn plan() -> Plan {
    let text = "[gateway]\nid = \"g\"\n[[bus]]\nname = \"b\"\nkind = \"tcp\"\nhost = \"h\"\n\
                [[device]]\nid = \"rain-1\"\nbus = \"b\"\nprofile = \"slix-rain\"\n\
                [[device]]\nid = \"air-1\"\nbus = \"b\"\nprofile = \"xy-md02\"\nunit = 1\n";
    let none: [(String, String); 0] = [];
    let loaded =
        sitian_settings::load::<Settings>(DEFAULTS, Some(("g.toml", text)), none, "S_", &[]).unwrap();
    Plan::make(&loaded, Path::new("")).unwrap()
}

fn counted(totals: &mut Totals, point: PointIndex, value: f64) -> (f64, bool) {
    let mut samples = [Sample { point, value: Some(value), quality: Quality::Good }];
    let keep = totals.handle_samples(&mut samples);
    (samples[0].value.unwrap(), keep)
}

#[test]
fn a_total_goes_on_after_a_restart_with_a_wrap_in_between() {
    let folder = tempfile::tempdir().unwrap();
    let Plan { buses, manifest, .. } = plan();
    let mut totals = Totals::open(folder.path(), &buses, &manifest);
    assert_eq!(counted(&mut totals, 0, 13_107.0), (13_107.0, true), "the first count is kept at once");
    assert_eq!(counted(&mut totals, 1, 21.5).0, 21.5, "a temperature counts nothing");
    keep(totals.to_keep().unwrap());
    let mut again = Totals::open(folder.path(), &buses, &manifest);
    // 13107.2 mm are one turn: 0.2 mm to the wrap, 0.4 mm after it.
    assert_eq!(counted(&mut again, 0, 0.4), (13_107.6, true));
    assert_eq!(counted(&mut again, 0, 0.6), (13_107.8, false), "nothing happened that must be kept now");
}

#[test]
fn a_file_of_nonsense_begins_the_totals_anew() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("totals.json"), "{\"rain-1/rain\": {\"carried\"").unwrap();
    let Plan { buses, manifest, .. } = plan();
    let mut totals = Totals::open(folder.path(), &buses, &manifest);
    assert_eq!(counted(&mut totals, 0, 5.0).0, 5.0);
}
