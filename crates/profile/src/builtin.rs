//! The texts that are compiled in: every file of `config/profiles`, and the catalogue.

/// Text of `config/measurements.toml`.
pub fn catalogue_text() -> &'static str {
    include_str!("../../../config/measurements.toml")
}

/// File name and text of every profile in `config/profiles`, ordered by file name.
pub fn builtin() -> &'static [(&'static str, &'static str)] {
    BUILTIN
}

macro_rules! profiles {
    ($($file:literal),* $(,)?) => {
        &[$(($file, include_str!(concat!("../../../config/profiles/", $file)))),*]
    };
}

const BUILTIN: &[(&str, &str)] = profiles![
    "comwintop-sl.toml",
    "comwintop-soil-thc.toml",
    "comwintop-weather.toml",
    "dds238.toml",
    "dfrobot-sen0482.toml",
    "dfrobot-sen0483.toml",
    "dfrobot-sen0601.toml",
    "dfrobot-sen0644.toml",
    "dfrobot-urm13.toml",
    "dfrobot-urm14.toml",
    "greenio-air-box.toml",
    "jxct-soil-npk.toml",
    "lc-relay-8.toml",
    "nhzd-light.toml",
    "par-generic.toml",
    "qdy30a.toml",
    "renke-fsjt-n01.toml",
    "renke-fxjt-n01.toml",
    "renke-gzws-n01.toml",
    "renke-ldos-n01.toml",
    "renke-soil-7in1-ph2.toml",
    "renke-soil-7in1.toml",
    "renke-soil-ecth.toml",
    "renke-ws-n01.toml",
    "renke-yl.toml",
    "rika-rk200.toml",
    "rika-rk500-22.toml",
    "rika-rk500-23.toml",
    "rika-soil-tm.toml",
    "rika-wind.toml",
    "senseair-s8.toml",
    "sensecap-co2-03.toml",
    "sensecap-mtec02.toml",
    "sensecap-s500.toml",
    "shtc3-board.toml",
    "slix-level.toml",
    "slix-rain.toml",
    "supmea-do7013.toml",
    "tuf-2000m.toml",
    "vaisala-gmp252.toml",
    "waveshare-relay-8.toml",
    "xy-md02-centi.toml",
    "xy-md02.toml",
    "yosemitech-y4000.toml",
    "yosemitech-y504.toml",
    "yosemitech-y511.toml",
    "yosemitech-y520.toml",
    "yosemitech-y532.toml",
    "yosemitech-y533.toml",
    "yosemitech-y551.toml",
    "yosemitech-y560.toml",
];

#[cfg(test)]
mod tests;
