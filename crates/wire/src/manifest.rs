//! The points of one epoch.

use std::collections::HashSet;

use prost::Message;
use sitian_model::{
    DeviceId, DeviceInfo, Epoch, GatewayId, IdError, Manifest, PointInfo, PointKey, TEXT_BYTES_MAX,
};

use crate::body::{Packed, WIRE_BYTES_MAX, pack, unpack};
use crate::control::text;
use crate::fault::{DecodeError, at_most, epoch, known_version, malformed, parse};
use crate::proto;
use crate::state::{SOFTWARE_BYTES_MAX, cut};

/// A manifest names at most this many devices.
pub const DEVICES_MAX: usize = 1024;

/// A manifest names at most this many points.
pub const POINTS_MAX: usize = 8192;

const DEVICES_TAG: u32 = 3;
const POINTS_TAG: u32 = 4;

/// Encodes a manifest. The result is readable if the manifest keeps to [`DEVICES_MAX`] and [`POINTS_MAX`], its texts to
/// [`TEXT_BYTES_MAX`], its body to [`crate::DECODED_BYTES_MAX`] and the result to [`WIRE_BYTES_MAX`]; whoever writes a configuration checks that.
pub fn encode_manifest(epoch: &Epoch, manifest: &Manifest) -> Vec<u8> {
    let device = |d: &DeviceInfo| proto::Device {
        id: d.id.to_string(),
        name: d.name.clone(),
        place: d.place.clone(),
        profile: d.profile.clone(),
        bus: d.bus.clone(),
    };
    let point = |p: &PointInfo| proto::Point {
        device: p.device,
        key: p.key.to_string(),
        measurement: p.measurement.clone(),
        unit: p.unit.clone(),
        decimals: p.decimals.into(),
        interval_ms: p.interval_ms,
    };
    let inner = proto::Manifest {
        gateway: manifest.gateway.to_string(),
        software: cut(&manifest.software, SOFTWARE_BYTES_MAX).to_owned(),
        devices: manifest.devices.iter().map(device).collect(),
        points: manifest.points.iter().map(point).collect(),
    };
    let body = inner.encode_to_vec();
    let sealed = proto::SealedManifest {
        version: crate::VERSION,
        epoch: epoch.0.to_vec(),
        body_bytes: body.len() as u32,
        body_check: crc32c::crc32c(&body),
        body: Some(match pack(body) {
            Packed::Plain(bytes) => proto::sealed_manifest::Body::Plain(bytes),
            Packed::Zstd(bytes) => proto::sealed_manifest::Body::Zstd(bytes),
        }),
    };
    sealed.encode_to_vec()
}

/// Decodes a manifest and the epoch it belongs to.
///
/// # Errors
///
/// Any [`DecodeError`], never with declared labels.
pub fn decode_manifest(bytes: &[u8]) -> Result<(Epoch, Manifest), DecodeError> {
    if bytes.len() > WIRE_BYTES_MAX {
        return Err(DecodeError::TooLong { bytes: bytes.len(), max: WIRE_BYTES_MAX });
    }
    let sealed: proto::SealedManifest = parse("manifest", bytes)?;
    known_version(sealed.version)?;
    let epoch = epoch(&sealed.epoch)?;
    let packed = match sealed.body {
        Some(proto::sealed_manifest::Body::Plain(bytes)) => Packed::Plain(bytes),
        Some(proto::sealed_manifest::Body::Zstd(bytes)) => Packed::Zstd(bytes),
        None => return Err(malformed("manifest has no body")),
    };
    let body = unpack(packed, sealed.body_bytes)?;
    if crc32c::crc32c(&body) != sealed.body_check {
        return Err(malformed("manifest body does not match its checksum"));
    }
    check_counts(&body)?;
    Ok((epoch, manifest(parse("manifest body", &body)?)?))
}

/// Counts before anything is allocated for them: two bytes on the wire would become a hundred in memory.
fn check_counts(mut body: &[u8]) -> Result<(), DecodeError> {
    let broken = |e: prost::DecodeError| malformed(format!("manifest body is no protobuf: {e}"));
    let (mut devices, mut points) = (0, 0);
    while !body.is_empty() {
        let (tag, wire_type) = prost::encoding::decode_key(&mut body).map_err(broken)?;
        devices += usize::from(tag == DEVICES_TAG);
        points += usize::from(tag == POINTS_TAG);
        let context = prost::encoding::DecodeContext::default();
        prost::encoding::skip_field(wire_type, tag, &mut body, context).map_err(broken)?;
    }
    at_most("devices", devices, DEVICES_MAX)?;
    at_most("points", points, POINTS_MAX)
}

fn manifest(inner: proto::Manifest) -> Result<Manifest, DecodeError> {
    let bad_id = |e: IdError| malformed(format!("manifest: {e}"));
    at_most("bytes of software", inner.software.len(), SOFTWARE_BYTES_MAX)?;
    let mut device_ids = HashSet::new();
    let mut devices = Vec::with_capacity(inner.devices.len());
    for proto::Device { id, name, place, profile, bus } in inner.devices {
        let id = DeviceId::new(&id).map_err(bad_id)?;
        if !device_ids.insert(id.clone()) {
            return Err(malformed(format!("device {id} is named twice")));
        }
        let short = |what: &str, value| text(&format!("{what} of device {id}"), value, TEXT_BYTES_MAX);
        devices.push(DeviceInfo {
            name: short("name", name)?,
            place: short("place", place)?,
            profile: short("profile", profile)?,
            bus: short("bus", bus)?,
            id,
        });
    }
    let mut keys = HashSet::new();
    let mut points = Vec::with_capacity(inner.points.len());
    for proto::Point { device, key, measurement, unit, decimals, interval_ms } in inner.points {
        let key = PointKey::new(&key).map_err(bad_id)?;
        if device as usize >= devices.len() {
            return Err(malformed(format!("point {key} belongs to device {device} of {}", devices.len())));
        }
        if !keys.insert((device, key.clone())) {
            return Err(malformed(format!("point {key} of device {device} is named twice")));
        }
        let decimals =
            u8::try_from(decimals).map_err(|_| malformed(format!("point {key} has {decimals} decimals")))?;
        let short = |what: &str, value| text(&format!("{what} of point {key}"), value, TEXT_BYTES_MAX);
        let (measurement, unit) = (short("measurement", measurement)?, short("unit", unit)?);
        points.push(PointInfo { device, key, measurement, unit, decimals, interval_ms });
    }
    let gateway = GatewayId::new(&inner.gateway).map_err(bad_id)?;
    Ok(Manifest { gateway, software: inner.software, devices, points })
}
