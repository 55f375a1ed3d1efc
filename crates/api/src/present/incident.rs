//! Incidents and gaps in plain words: what happened, and what to do about it.

use std::collections::BTreeMap;

use sitian_ingest::{Form, GapCommitted, Incident, IncidentKind, Taken};
use sitian_model::{Epoch, GapReason, GatewayId, Seq, Timestamp};
use sitian_series::Missing;

use super::{GatewayFacts, Presenter, name};
use crate::view::{self, Name};

/// What is known of an entry of the quarantine.
#[derive(Debug, Clone, Copy)]
pub struct QuarantineFacts<'a> {
    /// Its number.
    pub id: u64,
    /// In whose topic the bytes came.
    pub gateway: &'a GatewayId,
    /// What they stand for: epoch, first, one past the last.
    pub range: Option<(Epoch, Seq, Seq)>,
    /// What they are.
    pub form: Form,
    /// Why they were set aside.
    pub reason: &'a str,
    /// How many are kept.
    pub bytes: u64,
    /// When they arrived.
    pub at: Timestamp,
    /// When they were understood.
    pub redecoded_at: Option<Timestamp>,
    /// How many readings that gave.
    pub readings: Option<u64>,
}

impl Presenter {
    /// An incident with its number.
    pub fn incident(
        &self,
        id: u64,
        incident: &Incident,
        ended_at: Option<Timestamp>,
        undated: Option<(u64, Taken)>,
    ) -> view::Incident {
        let (base, breadcrumb) = self.stand(&incident.gateway);
        let (sentence, advice) = match undated {
            Some((readings, taken)) => {
                (self.clock_unknown(&incident.gateway, readings, taken), advice(incident.kind))
            }
            None => self.in_words(incident),
        };
        view::Incident {
            id,
            kind: kind(incident.kind),
            gateway: incident.gateway.to_string(),
            base,
            breadcrumb,
            epoch: incident.epoch.map(|epoch| epoch.to_string()),
            other_epoch: incident.other.map(|epoch| epoch.to_string()),
            first_seq: incident.seqs.map(|(first, _)| first),
            last_seq: incident.seqs.map(|(_, last)| last),
            after: incident.after.map(|at| self.time(at)),
            at: self.time(incident.at),
            ended_at: ended_at.map(|at| self.time(at)),
            undated: undated.map(|(readings, taken)| self.undated(incident.epoch, readings, taken)),
            sentence,
            advice,
        }
    }

    /// A committed gap with its number; `epoch` is the label behind its epoch's number, if that is known.
    pub fn gap(
        &self,
        id: u64,
        gateway: &GatewayId,
        committed: &GapCommitted,
        epoch: Option<Epoch>,
    ) -> view::Gap {
        let (base, breadcrumb) = self.stand(gateway);
        let gap = &committed.gap;
        view::Gap {
            id,
            gateway: gateway.to_string(),
            base,
            breadcrumb,
            reason: match gap.reason {
                GapReason::Evicted => view::GapReason::Evicted,
                GapReason::Damaged => view::GapReason::Damaged,
                GapReason::Trimmed => view::GapReason::Trimmed,
            },
            epoch: epoch.map_or_else(String::new, |epoch| epoch.to_string()),
            first_seq: gap.first,
            last_seq: gap.last,
            count: count(gap.first, gap.last),
            from: gap.span.map(|span| self.time(span.from)),
            to: gap.span.map(|span| self.time(span.to)),
            at: self.time(committed.at),
        }
    }

    /// An entry of the quarantine.
    pub fn quarantine_entry(&self, entry: &QuarantineFacts<'_>) -> view::QuarantineEntry {
        let (base, breadcrumb) = self.stand(entry.gateway);
        view::QuarantineEntry {
            id: entry.id,
            gateway: entry.gateway.to_string(),
            base,
            breadcrumb,
            form: match entry.form {
                Form::Record => view::QuarantineForm::Record,
                Form::Message => view::QuarantineForm::Message,
                Form::Rival => view::QuarantineForm::Rival,
            },
            epoch: entry.range.map(|(epoch, ..)| epoch.to_string()),
            first_seq: entry.range.map(|(_, first, _)| first),
            last_seq: entry.range.map(|(_, first, end)| end.saturating_sub(1).max(first)),
            reason: entry.reason.to_owned(),
            bytes: entry.bytes,
            at: self.time(entry.at),
            redecoded_at: entry.redecoded_at.map(|at| self.time(at)),
            readings: entry.readings,
        }
    }

    /// A gateway and where it stands.
    pub fn known_gateway(&self, facts: &GatewayFacts<'_>, points: u64) -> view::KnownGateway {
        let base = self.territory.base_of(facts.id);
        view::KnownGateway {
            id: facts.id.to_string(),
            base: base
                .map(|base| view::BaseRef { id: base.id.clone(), name: name(&base.name_zh, &base.name_en) }),
            breadcrumb: base.map(|base| self.breadcrumb(&base.id)).unwrap_or_default(),
            online: facts.online,
            last_seen_at: facts.last_seen_at.map(|at| self.time(at)),
            software: facts.software.map(str::to_owned),
            devices: facts.devices.len() as u64,
            points,
        }
    }

    /// Missing readings by the word of their reason.
    pub fn missing(&self, missing: &Missing) -> BTreeMap<String, u64> {
        missing.iter().map(|(lack, n)| (lack.word().to_owned(), *n)).collect()
    }

    /// The base of a gateway and the way there. What belongs to no base is in sight of the first city.
    fn stand(&self, gateway: &GatewayId) -> (Option<view::BaseRef>, Vec<view::Crumb>) {
        match self.territory.base_of(gateway) {
            Some(base) => {
                let at = view::BaseRef { id: base.id.clone(), name: name(&base.name_zh, &base.name_en) };
                (Some(at), self.breadcrumb(&base.id))
            }
            None => (None, self.territory.root().map(|root| self.breadcrumb(&root.id)).unwrap_or_default()),
        }
    }

    fn in_words(&self, incident: &Incident) -> (Name, Name) {
        let gateway = &incident.gateway;
        let (n_zh, n_en) = match incident.seqs {
            Some((first, last)) => {
                let n = count(first, last);
                (format!("{n} 条记录"), if n == 1 { "1 record".to_owned() } else { format!("{n} records") })
            }
            None => ("一部分记录".to_owned(), "some records".to_owned()),
        };
        let (zh, en) = match incident.kind {
            IncidentKind::Clone => (
                format!("两台设备同时以 {gateway} 的名义上传。两边的读数都已入库，但混在同一组测点里。"),
                format!(
                    "Two machines upload as {gateway} at once. The readings of both are stored, but under the same points."
                ),
            ),
            IncidentKind::Fork => (
                format!("{gateway} 的程序被复制，两份接着写同一段编号。后到的没有入库，原始数据已留存。"),
                format!(
                    "The program of {gateway} was copied while running, and both copies write the same numbers. What came second was not stored; its bytes are kept."
                ),
            ),
            IncidentKind::PossibleLoss => self.possible_loss(incident),
            IncidentKind::CardLost => (
                format!("{gateway} 重启后，存储卡上少了 {n_zh}。已上传的不受影响。"),
                format!("After a restart the card of {gateway} lacks {n_en}. What was uploaded is safe."),
            ),
            IncidentKind::ServerRestored => (
                format!("中心曾从备份恢复，不再记得 {gateway} 的 {n_zh}，网关正在重新上传。"),
                format!(
                    "The centre was restored from a backup and had forgotten {n_en} of {gateway}; the gateway uploads them again."
                ),
            ),
            IncidentKind::Quarantined => (
                format!("{gateway} 发来的 {n_zh}无法识读，没有计入读数，原始数据已留存。"),
                format!(
                    "{gateway} sent {n_en} that could not be read. They do not count as readings; their bytes are kept."
                ),
            ),
            IncidentKind::Gap => (
                format!("{gateway} 的 {n_zh}确定缺失：缓存写满、存储卡损坏，或已在两边清除。"),
                format!(
                    "{gateway} has definitely lost {n_en}: its spool was full, its card damaged, or both sides had let go of them."
                ),
            ),
            IncidentKind::ManifestConflict => (
                format!("{gateway} 在同一次运行中报来两份不同的测点表，以先到的为准。"),
                format!(
                    "{gateway} sent two different lists of points in one run; the first one stays in force."
                ),
            ),
            IncidentKind::Quota => (
                format!("{gateway} 重启过于频繁，或登记的测点过多，超出的部分没有接收。"),
                format!(
                    "{gateway} restarts too often or names too many points; what was too much was not taken."
                ),
            ),
            kind => in_newer_words(kind, gateway, &n_zh, &n_en),
        };
        (name(&zh, &en), advice(incident.kind))
    }

    /// A card that is not the one it was: which readings may be missing, with both bounds.
    fn possible_loss(&self, incident: &Incident) -> (String, String) {
        let gateway = &incident.gateway;
        let at = self.moment(incident.at);
        let (span_zh, span_en) = match incident.after.map(|after| self.moment(after)) {
            Some(after) => (format!("{after} 到 {at} 之间"), format!("between {after} and {at}")),
            None => (format!("{at} 之前"), format!("before {at}")),
        };
        // One label past the last stored one is suspected even if nothing was ever announced there.
        let known = incident.seqs.map(|(first, last)| count(first, last)).filter(|n| *n > 1);
        let known_zh = known.map(|n| format!("，已知 {n} 条记录未到")).unwrap_or_default();
        let known_en = known.map(|n| format!("; {n} records are known not to have come")).unwrap_or_default();
        (
            format!(
                "{gateway} 的存储卡被更换、清空或换回了旧卡，{span_zh}的读数可能没来得及上传{known_zh}。"
            ),
            format!(
                "The card of {gateway} was replaced, wiped or put back from an older copy; readings taken {span_en} may not have been uploaded{known_en}."
            ),
        )
    }

    /// Readings of a run without a clock: between which moments they were taken.
    fn clock_unknown(&self, gateway: &GatewayId, readings: u64, taken: Taken) -> Name {
        let before = self.moment(taken.before);
        let (span_zh, span_en) = match taken.after.map(|after| self.moment(after)) {
            Some(after) => (format!("{after} 到 {before} 之间"), format!("between {after} and {before}")),
            None => (format!("{before} 之前"), format!("before {before}")),
        };
        let n_en =
            if readings == 1 { "1 reading was".to_owned() } else { format!("{readings} readings were") };
        name(
            &format!(
                "{gateway} 上电后没有对时，{readings} 个读数采于{span_zh}，具体时间无从得知，已入库并标注。"
            ),
            &format!(
                "{gateway} had no clock after power-up: {n_en} taken {span_en}, nobody knows when exactly. They are stored and marked."
            ),
        )
    }

    /// `11-22 14:02` in the server's zone.
    fn moment(&self, at: Timestamp) -> String {
        let text = self.time(at).0;
        let part = |range| text.get(range).unwrap_or_default();
        format!("{} {}", part(5..10), part(11..16))
    }
}

/// The kinds that came after the first release of the store.
fn in_newer_words(kind: IncidentKind, gateway: &GatewayId, n_zh: &str, n_en: &str) -> (String, String) {
    match kind {
        IncidentKind::ForeignManifest => (
            format!("{gateway} 上传的测点表写的是另一台网关的编号，这一段读数没有接收。"),
            format!(
                "{gateway} sent a list of points that names another gateway; the readings of that run are not taken."
            ),
        ),
        IncidentKind::ClockUnknown => (
            format!("{gateway} 上电后没有对时，{n_zh}的时间不确定，已入库并标注。"),
            format!(
                "{gateway} had no clock after power-up; the time of {n_en} is uncertain. They are stored and marked."
            ),
        ),
        IncidentKind::Redecoded => (
            format!("{gateway} 先前无法识读的 {n_zh}现已识读并入库。"),
            format!("{n_en} of {gateway} that could not be read before have been read and stored."),
        ),
        IncidentKind::SpoolFailed => (
            format!(
                "{gateway} 的存储卡写不进去：仍在采集并直接上传，但读数只留在内存里，此时断电或断网过久会丢失。"
            ),
            format!(
                "The card of {gateway} refuses writes: it polls on and uploads directly, but readings are kept in memory only; a power cut, or a link that is down for long, loses them."
            ),
        ),
        _ => (
            format!("{gateway} 在上传读数，但不属于任何基地：读数已入库，任何页面都看不到。"),
            format!(
                "{gateway} publishes but belongs to no base: its readings are stored, but no page shows them."
            ),
        ),
    }
}

fn advice(kind: IncidentKind) -> Name {
    let (zh, en) = match kind {
        IncidentKind::Clone => (
            "找出另一台设备并停用，或在它的配置里改用自己的网关编号。",
            "Find the other machine and switch it off, or give it a gateway id of its own.",
        ),
        IncidentKind::Fork => (
            "停掉多余的一份（常见于恢复虚拟机快照）。网关会自动换编号重传。",
            "Stop the extra copy (often a restored machine snapshot). The gateway relabels and sends again by itself.",
        ),
        IncidentKind::PossibleLoss => (
            "若换下的卡还在，插回去通电，会自动补传；找不到则这一段按缺测处理。",
            "If the card that was taken out still exists, put it back and power up: it uploads by itself. Otherwise treat the span as missing.",
        ),
        IncidentKind::CardLost => (
            "存储卡可能将坏，请备一张工业级卡更换，并检查供电是否骤断。",
            "The card may be failing: replace it with an industrial one, and check for sudden power cuts.",
        ),
        IncidentKind::ServerRestored => (
            "不用处理。比网关保留期更早的读数会显示为缺失。",
            "Nothing to do. Readings older than what the gateway keeps will show as missing.",
        ),
        IncidentKind::Quarantined => (
            "核对网关与中心的程序版本；中心升级后启动时会自动重新识读。",
            "Compare the versions of gateway and centre; once upgraded, the centre reads them again when it starts.",
        ),
        IncidentKind::Gap => (
            "若断网时间过长，请加大缓存上限；否则检查存储卡。",
            "If the link was down for long, allow a larger spool; otherwise check the card.",
        ),
        IncidentKind::ManifestConflict => ("重启该网关的程序。", "Restart the program of this gateway."),
        IncidentKind::Quota => (
            "查看网关日志，找出反复重启的原因，并核对设备配置。",
            "Look in the gateway's log for why it restarts, and check its device configuration.",
        ),
        IncidentKind::ForeignManifest => (
            "该网关改过编号而程序较旧：升级网关程序，积压会以新编号补传；或改回原编号，等补传完再改。",
            "The gateway was renamed and runs an older program: upgrade it and the backlog comes under the new id, or give it its old id back until the backlog is through.",
        ),
        IncidentKind::ClockUnknown => (
            "给网关接入网络对时（NTP）或加装时钟电池；联网后中心也会替它对时。",
            "Give the gateway a time server or a clock battery; once it is online the centre sets its clock too.",
        ),
        IncidentKind::Redecoded => ("不用处理。", "Nothing to do."),
        IncidentKind::SpoolFailed => (
            "先别断电，保持联网；备好新卡后停机更换（建议工业级），并检查供电和磁盘空间。",
            "Keep it powered and online for now; have a new card (an industrial one) at hand, then swap it, and check the power supply and the free space.",
        ),
        IncidentKind::Unassigned => (
            "在辖区文件里把这台网关加到所属基地，然后重启中心程序。",
            "Add the gateway to its base in the territory file, then restart the centre.",
        ),
    };
    name(zh, en)
}

fn kind(kind: IncidentKind) -> view::IncidentKind {
    match kind {
        IncidentKind::Clone => view::IncidentKind::Clone,
        IncidentKind::Fork => view::IncidentKind::Fork,
        IncidentKind::PossibleLoss => view::IncidentKind::PossibleLoss,
        IncidentKind::CardLost => view::IncidentKind::CardLost,
        IncidentKind::ServerRestored => view::IncidentKind::ServerRestored,
        IncidentKind::Quarantined => view::IncidentKind::Quarantined,
        IncidentKind::Gap => view::IncidentKind::Gap,
        IncidentKind::ManifestConflict => view::IncidentKind::ManifestConflict,
        IncidentKind::Quota => view::IncidentKind::Quota,
        IncidentKind::ForeignManifest => view::IncidentKind::ForeignManifest,
        IncidentKind::ClockUnknown => view::IncidentKind::ClockUnknown,
        IncidentKind::Redecoded => view::IncidentKind::Redecoded,
        IncidentKind::Unassigned => view::IncidentKind::Unassigned,
        IncidentKind::SpoolFailed => view::IncidentKind::SpoolFailed,
    }
}

fn count(first: u64, last: u64) -> u64 {
    last.saturating_sub(first).saturating_add(1)
}
