//! Reads a territory file. Every fault carries its place; all faults of a well-formed file are told at once.

use std::collections::{HashMap, HashSet};

use serde::Deserialize;
use sitian_model::{BaseId, ConfigFault, GatewayId};
use toml::Spanned;

use super::{Code, Level, Node, Position, Territory};

/// Most nodes in one territory.
const NODES_MAX: usize = 100_000;

impl Territory {
    /// Reads a territory file.
    ///
    /// # Errors
    /// Every fault found.
    pub fn parse(file: &str, text: &str) -> Result<Self, Vec<ConfigFault>> {
        let raw: RawFile = toml::from_str(text).map_err(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            let help = "see config/territory/zhangye.toml for every key and its meaning";
            vec![ConfigFault::at(file, text, offset, error.message().trim(), help)]
        })?;
        let mut reader = Reader {
            file,
            text,
            faults: Vec::new(),
            ids: HashMap::new(),
            codes: HashSet::new(),
            gateways: HashSet::new(),
        };
        let mut nodes = Vec::new();
        for (level, list) in Level::ALL.into_iter().zip([raw.city, raw.county, raw.town, raw.base]) {
            for raw in list {
                nodes.extend(reader.node(level, raw));
            }
        }
        if !reader.ids.values().any(|known| known.level == Level::City) {
            reader.fault(0, "the territory has no city", "begin with one [[city]]");
        }
        if nodes.len() > NODES_MAX {
            reader.fault(0, format!("{} nodes are too many", nodes.len()), format!("keep to {NODES_MAX}"));
        }
        if reader.faults.is_empty() { Ok(Self::link(nodes)) } else { Err(reader.faults) }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    #[serde(default)]
    city: Vec<RawNode>,
    #[serde(default)]
    county: Vec<RawNode>,
    #[serde(default)]
    town: Vec<RawNode>,
    #[serde(default)]
    base: Vec<RawNode>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawNode {
    id: Spanned<String>,
    parent: Option<Spanned<String>>,
    name: Spanned<RawName>,
    #[serde(default)]
    codes: Vec<RawCode>,
    longitude: Spanned<f64>,
    latitude: Spanned<f64>,
    position: Spanned<String>,
    area_mu: Option<Spanned<f64>>,
    gateways: Option<Spanned<Vec<Spanned<String>>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawName {
    zh: String,
    en: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCode {
    system: Spanned<String>,
    code: Spanned<String>,
    valid_from: Option<Spanned<String>>,
}

/// What later nodes need to know of an earlier one.
struct Known {
    level: Level,
    /// Six digits, as in `gb2260`.
    code: Option<String>,
}

struct Reader<'a> {
    file: &'a str,
    text: &'a str,
    faults: Vec<ConfigFault>,
    ids: HashMap<String, Known>,
    codes: HashSet<(String, String)>,
    gateways: HashSet<GatewayId>,
}

impl Reader<'_> {
    fn fault(&mut self, offset: usize, what: impl Into<String>, help: impl Into<String>) {
        self.faults.push(ConfigFault::at(self.file, self.text, offset, what, help));
    }

    /// `None` only after a fault; a node that is returned may have had faults too.
    fn node(&mut self, level: Level, raw: RawNode) -> Option<Node> {
        let (start, id) = (raw.id.span().start, raw.id.get_ref().clone());
        if BaseId::new(&id).is_err() {
            self.fault(start, format!("id {id:?} is not usable"), "use 1 to 48 characters from a-z 0-9 -");
        }
        let name = raw.name.get_ref();
        if name.zh.trim().is_empty() || name.en.trim().is_empty() {
            self.fault(
                raw.name.span().start,
                format!("{id:?} lacks a name"),
                "write name = { zh = \"…\", en = \"…\" }",
            );
        }
        let parent_code = self.parent(level, &raw);
        let faults = self.faults.len();
        let codes = self.codes(level, &raw, parent_code.as_deref());
        let codes_sound = faults == self.faults.len(); // a wrong code is told once, not again for every child
        self.range(&raw.longitude, "longitude", 180.0);
        self.range(&raw.latitude, "latitude", 90.0);
        let position = self.position(&raw.position);
        if let Some(area) = &raw.area_mu
            && !(area.get_ref().is_finite() && *area.get_ref() > 0.0)
        {
            self.fault(
                area.span().start,
                format!("area_mu = {} is no area", area.get_ref()),
                "write a positive number of mu, or leave it out",
            );
        }
        let gateways = self.gateways(level, &raw);
        let code =
            codes.iter().find(|code| codes_sound && code.system == "gb2260").map(|code| code.code.clone());
        if self.ids.contains_key(&id) {
            self.fault(start, format!("id {id:?} is taken"), "give every place its own id, over all levels");
        } else {
            self.ids.insert(id.clone(), Known { level, code });
        }
        let name = raw.name.into_inner();
        Some(Node {
            id,
            level,
            parent: raw.parent.map(Spanned::into_inner),
            name_zh: name.zh,
            name_en: name.en,
            codes,
            longitude: raw.longitude.into_inner(),
            latitude: raw.latitude.into_inner(),
            position: position?,
            area_mu: raw.area_mu.map(Spanned::into_inner),
            gateways,
        })
    }

    /// Checks the parent; returns its six-digit code, if it has one.
    fn parent(&mut self, level: Level, raw: &RawNode) -> Option<String> {
        let above = match level {
            Level::City => None,
            Level::County => Some(Level::City),
            Level::Town => Some(Level::County),
            Level::Base => Some(Level::Town),
        };
        match (above, &raw.parent) {
            (None, None) => None,
            (None, Some(parent)) => {
                self.fault(parent.span().start, "a city has nothing above it", "remove the key parent");
                None
            }
            (Some(above), None) => {
                let what = format!("{} {:?} has no parent", level.word(), raw.id.get_ref());
                self.fault(raw.id.span().start, what, format!("add parent = the id of its {}", above.word()));
                None
            }
            (Some(above), Some(parent)) => {
                let known = self.ids.get(parent.get_ref()).map(|known| (known.level, known.code.clone()));
                let (what, help) = match known {
                    Some((found, code)) if found == above => return code,
                    Some((found, _)) => (
                        format!(
                            "parent {:?} is a {}, not a {}",
                            parent.get_ref(),
                            found.word(),
                            above.word()
                        ),
                        "the four levels follow each other: city, county, town, base".to_owned(),
                    ),
                    None => (
                        format!("there is no {} {:?}", above.word(), parent.get_ref()),
                        format!("add it as [[{}]], or name another", above.word()),
                    ),
                };
                self.fault(parent.span().start, what, help);
                None
            }
        }
    }

    fn codes(&mut self, level: Level, raw: &RawNode, parent_code: Option<&str>) -> Vec<Code> {
        let (systems, digits): (&[&str], usize) = match level {
            Level::City | Level::County => (&["gb2260"], 6),
            Level::Town => (&["nbs", "mca"], 9),
            Level::Base => (&[], 0),
        };
        // The digits that name the county in a town's code, or the city in a county's.
        let shared = parent_code.and_then(|code| code.get(..if level == Level::County { 4 } else { 6 }));
        let mut codes: Vec<Code> = Vec::new();
        for code in &raw.codes {
            let (system, digits_text) = (code.system.get_ref(), code.code.get_ref());
            let at = code.code.span().start;
            if !systems.contains(&system.as_str()) {
                let help = if systems.is_empty() {
                    "bases have no official code".to_owned()
                } else {
                    format!("use {}", systems.join(" or "))
                };
                self.fault(
                    code.system.span().start,
                    format!("a {} has no code of system {system:?}", level.word()),
                    help,
                );
                continue;
            }
            if digits_text.len() != digits || !digits_text.bytes().all(|b| b.is_ascii_digit()) {
                self.fault(
                    at,
                    format!("code {digits_text:?} is not usable"),
                    format!("write {digits} digits"),
                );
            } else if shared.is_some_and(|shared| !digits_text.starts_with(shared)) {
                let what = format!(
                    "code {digits_text} does not lie under its parent's {}",
                    parent_code.unwrap_or_default()
                );
                self.fault(at, what, format!("it must begin with {}", shared.unwrap_or_default()));
            }
            if !self.codes.insert((system.clone(), digits_text.clone())) {
                self.fault(
                    at,
                    format!("code {digits_text} of system {system} is taken"),
                    "one place per code and system",
                );
            }
            if codes.iter().any(|known| known.system == *system) {
                self.fault(
                    code.system.span().start,
                    format!("system {system:?} is named twice"),
                    "one code per system",
                );
            }
            if let Some(day) = &code.valid_from
                && !is_day(day.get_ref())
            {
                self.fault(
                    day.span().start,
                    format!("valid_from {:?} is no day", day.get_ref()),
                    "write YYYY-MM-DD",
                );
            }
            let valid_from = code.valid_from.as_ref().map(|day| day.get_ref().clone());
            codes.push(Code { system: system.clone(), code: digits_text.clone(), valid_from });
        }
        codes
    }

    fn range(&mut self, degrees: &Spanned<f64>, key: &str, max: f64) {
        if !(-max..=max).contains(degrees.get_ref()) {
            let what = format!("{key} = {} is not on this planet", degrees.get_ref());
            self.fault(degrees.span().start, what, format!("write degrees from -{max} to {max}"));
        }
    }

    fn position(&mut self, word: &Spanned<String>) -> Option<Position> {
        let position = match word.get_ref().as_str() {
            "exact" => Some(Position::Exact),
            "seat" => Some(Position::Seat),
            "schematic" => Some(Position::Schematic),
            _ => None,
        };
        if position.is_none() {
            self.fault(
                word.span().start,
                format!("position {:?} is not known", word.get_ref()),
                "use exact, seat or schematic",
            );
        }
        position
    }

    fn gateways(&mut self, level: Level, raw: &RawNode) -> Vec<GatewayId> {
        let Some(list) = &raw.gateways else { return Vec::new() };
        if level != Level::Base {
            self.fault(
                list.span().start,
                format!("a {} has no gateways", level.word()),
                "gateways stand in bases",
            );
            return Vec::new();
        }
        let mut gateways = Vec::new();
        for gateway in list.get_ref() {
            match GatewayId::new(gateway.get_ref()) {
                Ok(id) if self.gateways.insert(id.clone()) => gateways.push(id),
                Ok(id) => self.fault(
                    gateway.span().start,
                    format!("gateway {id} stands in another base already"),
                    "name every gateway once",
                ),
                Err(error) => self.fault(
                    gateway.span().start,
                    error.to_string(),
                    "write the id that the gateway's own configuration has",
                ),
            }
        }
        gateways
    }
}

fn is_day(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let number =
        |part: &str, digits: usize| (part.len() == digits).then(|| part.parse::<u32>().ok()).flatten();
    match parts.as_slice() {
        [year, month, day] => {
            number(year, 4).is_some()
                && number(month, 2).is_some_and(|m| (1..=12).contains(&m))
                && number(day, 2).is_some_and(|d| (1..=31).contains(&d))
        }
        _ => false,
    }
}
