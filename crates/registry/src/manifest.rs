//! The bytes of a manifest and of lists of point numbers, as tables of epochs and manifests hold them. Knows no
//! database.

use sitian_model::{DeviceId, DeviceInfo, GatewayId, Manifest, PointInfo, PointKey, PointNo};

use crate::bytes::{Bytes, CodecError, open, put, put_signed, seal};

const LAYOUT: u8 = 3;

/// The bytes of a manifest, without its gateway: equal manifests have equal bytes.
pub fn encode(manifest: &Manifest) -> Vec<u8> {
    let mut out = vec![LAYOUT, 0, 0, 0, 0];
    put_text(&mut out, &manifest.software);
    put(&mut out, manifest.devices.len() as u64);
    for device in &manifest.devices {
        let texts = [device.id.as_str(), &device.name, &device.place, &device.profile, &device.bus];
        texts.iter().for_each(|text| put_text(&mut out, text));
    }
    put(&mut out, manifest.points.len() as u64);
    for point in &manifest.points {
        put(&mut out, u64::from(point.device));
        [point.key.as_str(), &point.measurement, &point.unit]
            .iter()
            .for_each(|text| put_text(&mut out, text));
        out.push(point.decimals);
        put(&mut out, u64::from(point.interval_ms));
    }
    seal(&mut out);
    out
}

/// The manifest of these bytes.
///
/// # Errors
/// They are none.
pub fn decode(blob: &[u8], gateway: GatewayId) -> Result<Manifest, CodecError> {
    let (_, mut bytes) = open(blob, &[LAYOUT])?;
    let software = text(&mut bytes).ok_or(CodecError::Column("software"))?;
    let devices = list(&mut bytes, device).ok_or(CodecError::Column("device"))?;
    let points = list(&mut bytes, point).ok_or(CodecError::Column("point"))?;
    Ok(Manifest { gateway, software, devices, points })
}

/// The bytes of point numbers.
pub fn encode_points(points: &[PointNo]) -> Vec<u8> {
    let mut out = vec![LAYOUT, 0, 0, 0, 0];
    put(&mut out, points.len() as u64);
    let mut last = 0;
    for point in points {
        put_signed(&mut out, i64::from(point.0) - last);
        last = i64::from(point.0);
    }
    seal(&mut out);
    out
}

/// The point numbers of these bytes.
///
/// # Errors
/// They are none.
pub fn decode_points(blob: &[u8]) -> Result<Vec<PointNo>, CodecError> {
    let (_, mut bytes) = open(blob, &[LAYOUT])?;
    let mut last = 0i64;
    let next = |bytes: &mut Bytes<'_>| {
        last = last.wrapping_add(bytes.signed()?);
        u32::try_from(last).ok().map(PointNo)
    };
    list(&mut bytes, next).ok_or(CodecError::Column("point"))
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

fn text(bytes: &mut Bytes<'_>) -> Option<String> {
    let n = bytes.length(bytes.0.len())?;
    String::from_utf8(bytes.take(n)?.to_vec()).ok()
}

fn list<T>(bytes: &mut Bytes<'_>, mut one: impl FnMut(&mut Bytes<'_>) -> Option<T>) -> Option<Vec<T>> {
    let n = bytes.length(bytes.0.len())?;
    (0..n).map(|_| one(bytes)).collect()
}

fn device(bytes: &mut Bytes<'_>) -> Option<DeviceInfo> {
    let id = DeviceId::new(&text(bytes)?).ok()?;
    Some(DeviceInfo { id, name: text(bytes)?, place: text(bytes)?, profile: text(bytes)?, bus: text(bytes)? })
}

fn point(bytes: &mut Bytes<'_>) -> Option<PointInfo> {
    Some(PointInfo {
        device: u32::try_from(bytes.number()?).ok()?,
        key: PointKey::new(&text(bytes)?).ok()?,
        measurement: text(bytes)?,
        unit: text(bytes)?,
        decimals: bytes.byte()?,
        interval_ms: u32::try_from(bytes.number()?).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_and_point_lists_read_back_and_torn_ones_do_not() {
        let gateway = GatewayId::new("gw-1").unwrap();
        let device = |id: &str| DeviceInfo {
            id: DeviceId::new(id).unwrap(),
            name: "3号棚 土壤".into(),
            place: "3号棚".into(),
            profile: "soil-7in1".into(),
            bus: "rs485".into(),
        };
        let point = |device, key: &str| PointInfo {
            device,
            key: PointKey::new(key).unwrap(),
            measurement: key.into(),
            unit: "°C".into(),
            decimals: 1,
            interval_ms: 60_000,
        };
        let points = vec![point(0, "soil_temperature"), point(1, "soil_moisture")];
        let devices = vec![device("soil-1"), device("soil-2")];
        let manifest = Manifest { gateway: gateway.clone(), software: "0.1.0".into(), devices, points };
        let blob = encode(&manifest);
        assert_eq!(decode(&blob, gateway.clone()).unwrap(), manifest);
        for cut in 0..blob.len() {
            assert!(decode(&blob[..cut], gateway.clone()).is_err(), "cut at {cut}");
        }
        let points = [5, 6, 1, u32::MAX, 0].map(PointNo);
        assert_eq!(decode_points(&encode_points(&points)).unwrap(), points);
        assert_eq!(decode_points(&encode_points(&[])).unwrap(), []);
    }
}
