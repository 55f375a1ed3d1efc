use sitian_dialect::nmea::{NmeaFault, fields, parse_sentence};

use crate::shown;

fn check(line: &str, expected: Result<&[&str], NmeaFault>) {
    let said = parse_sentence(line, true).map(|sentence| shown(&fields(&sentence)));
    let expected = expected.map(|fields| fields.iter().map(ToString::to_string).collect::<Vec<_>>());
    assert_eq!(said, expected, "{line}");
}

#[test]
fn sentences_become_fields_in_si_units() {
    for (line, fields) in [
        ("$WIMWV,315.4,R,12.2,N,A*11", &["mwv.angle_relative=315.4", "mwv.speed_relative=6.2762168"][..]),
        ("$WIMWV,29.8,R,8.0,N,A*18", &["mwv.angle_relative=29.8", "mwv.speed_relative=4.115552"]),
        ("$WIMWV,90.0,R,10.0,N,A*2B", &["mwv.angle_relative=90", "mwv.speed_relative=5.14444"]),
        ("$WIMWV,20.4,R,3.19,N,A*2E", &["mwv.angle_relative=20.4", "mwv.speed_relative=1.64107636"]),
        ("$IIMWV,344.0,R,005.9,M,A*31", &["mwv.angle_relative=344", "mwv.speed_relative=5.9"]),
        (
            "$WIMDA,3.02,I,1.01,B,23.4,C,,,40.2,,12.1,C,19.3,T,20.1,M,13.1,N,1.1,M*62",
            &[
                "mda.pressure=1010",
                "mda.air_temperature=23.4",
                "mda.humidity=40.2",
                "mda.dew_point=12.1",
                "mda.wind_direction_true=19.3",
                "mda.wind_direction_magnetic=20.1",
                "mda.wind_speed=1.1",
            ],
        ),
        (
            "$WIMDA,29.4473,I,0.9972,B,17.2,C,,,,,,,,,,,,,,*3E",
            &["mda.pressure=997.2", "mda.air_temperature=17.2"],
        ),
        ("$WIXDR,C,022.0,C,,*52", &["xdr.c=22"]),
        ("$WIXDR,C,007,C,,U,4.1,V,,*63", &["xdr.c=7", "xdr.u=4.1"]),
        ("$IIXDR,P,1.015,B,Baro,C,22.0,C,AirTemp*21", &["xdr.baro=1015", "xdr.airtemp=22"]),
        // Not a weather sentence: nothing to say.
        ("$GPGGA,,,,,,0,,,M,,M,,*4A", &[]),
    ] {
        check(line, Ok(fields));
    }
}

#[test]
fn wind_that_the_station_calls_invalid_has_no_value() {
    let line = "$WIMWV,,R,20.0,N,V";
    let sum = line[1..].bytes().fold(0, |sum, byte| sum ^ byte);
    check(
        &format!("{line}*{sum:02X}"),
        Ok(&["mwv.angle_relative=!device_status", "mwv.speed_relative=!device_status"]),
    );
}

#[test]
fn what_is_no_sentence_with_a_good_checksum_says_nothing() {
    for (line, fault) in [
        ("$WIMWV,315.4,R,12.3,N,A*11", NmeaFault::Checksum),
        // Published with a wrong checksum.
        ("$WIXDR,C,023.2,C,,*56", NmeaFault::Checksum),
        ("$WIMWV,315.4,R,12.2,N,A*1", NmeaFault::Checksum),
        ("$WIMWV,315.4,R,12.2,N,A*XY", NmeaFault::Checksum),
        ("$WIMWV,315.4,R,12.2,N,A", NmeaFault::NoChecksum),
        ("WIMWV,315.4,R,12.2,N,A*11", NmeaFault::NoSentence),
        ("$,*2C", NmeaFault::NoSentence),
        ("", NmeaFault::NoSentence),
    ] {
        check(line, Err(fault));
    }
    // The junk of a port that was opened in the middle of a sentence does not hide the next one.
    check("4,R,12$WIXDR,C,022.0,C,,*52", Ok(&["xdr.c=22"]));
}
