//! The web console's files, compiled in.
//!
//! `cargo xtask console` builds them from `web/` into `web/dist`; without that build the pages say so. The room knows
//! no HTTP, and no request ever becomes a path on the disk: a name either is one of the embedded ones or is nothing.

#![cfg_attr(test, allow(clippy::unwrap_used))]

use std::borrow::Cow;

use rust_embed::Embed;

#[derive(Embed)]
#[folder = "web/dist"]
struct Dist;

/// Said instead of the console when it has not been built. Needs neither script nor style.
const UNBUILT: &str = "<!doctype html>\n<html lang=\"zh\"><head><meta charset=\"utf-8\"><title>Sitian</title></head>\n\
    <body><h1>司田 Sitian</h1><p>控制台尚未构建。The console has not been built.</p>\
    <p>run: <code>cargo xtask console</code></p>\
    <p>API: <a href=\"/api/v1/openapi.json\">/api/v1/openapi.json</a></p></body></html>\n";

/// One file of the console.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asset {
    /// Its content.
    pub bytes: Cow<'static, [u8]>,
    /// Its media type.
    pub mime: &'static str,
    /// Changes exactly with the content; a quoted strong entity tag.
    pub etag: String,
    /// True if the file's name changes with its content, so that it may be cached for ever.
    pub immutable: bool,
}

/// The file that answers `path` (with or without the leading slash), or `None` if there is none.
///
/// The console's own pages (`/`, `/n/<node>`, `/b/<base>`, `/alerts`) all answer with `index.html`.
pub fn asset(path: &str) -> Option<Asset> {
    let name = path.strip_prefix('/').unwrap_or(path);
    if is_page(name) {
        return Some(embedded("index.html").unwrap_or_else(unbuilt));
    }
    embedded(name)
}

/// True once the console has been built into this program.
pub fn is_built() -> bool {
    Dist::get("index.html").is_some()
}

fn is_page(name: &str) -> bool {
    let slug = |id: &str| {
        (1..=64).contains(&id.len())
            && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b))
    };
    match name.split_once('/') {
        None => matches!(name, "" | "index.html" | "alerts"),
        Some(("n" | "b", id)) => slug(id),
        Some(_) => false,
    }
}

fn embedded(name: &str) -> Option<Asset> {
    let file = Dist::get(name)?;
    let hash: String = file.metadata.sha256_hash()[..16].iter().map(|b| format!("{b:02x}")).collect();
    Some(Asset {
        bytes: file.data,
        mime: mime(name),
        etag: format!("\"{hash}\""),
        immutable: name.starts_with("assets/"),
    })
}

fn unbuilt() -> Asset {
    Asset {
        bytes: Cow::Borrowed(UNBUILT.as_bytes()),
        mime: "text/html; charset=utf-8",
        etag: "\"unbuilt\"".to_owned(),
        immutable: false,
    }
}

fn mime(name: &str) -> &'static str {
    match name.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" => "application/json",
        "webmanifest" => "application/manifest+json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "webp" => "image/webp",
        "woff2" => "font/woff2",
        "mp3" => "audio/mpeg",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_of_the_console_answers_with_html() {
        for path in ["/", "", "/index.html", "/alerts", "/n/zhangye", "/b/base-01"] {
            let page = asset(path).unwrap();
            assert_eq!((page.mime, page.immutable), ("text/html; charset=utf-8", false), "{path}");
        }
    }

    #[test]
    fn what_is_no_page_and_no_file_is_nothing() {
        for path in [
            "/n/",
            "/b/a/b",
            "/n/..",
            "/n/A",
            "/../Cargo.toml",
            "//etc/passwd",
            "/etc/passwd",
            "/assets/../index.html",
            "/assets/",
            "..",
            ".",
            "/index.html/",
            "/%2e%2e/Cargo.toml",
            "/src/lib.rs",
            "\\..\\Cargo.toml",
            "/n/a\0",
        ] {
            assert_eq!(asset(path), None, "{path}");
        }
    }

    #[test]
    fn the_page_without_a_build_says_what_to_run() {
        assert!(String::from_utf8(unbuilt().bytes.into_owned()).unwrap().contains("cargo xtask console"));
    }
}
