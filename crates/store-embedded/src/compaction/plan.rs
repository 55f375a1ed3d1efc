//! Which chunks of a point are joined next. Knows no database.

use crate::chunk::{FULL_ROWS, ROWS_MAX, SPAN_MS_MAX};
use crate::shelf::Chunk;

/// So many chunks of a size are joined.
pub(super) const JOIN_MIN: usize = 8;
/// Most chunks of one step.
const GROUP_MAX: usize = 64;
/// A size is from so many to so many rows, each eight times the one before.
const SIZES: [(u32, u32); 3] = [(0, 64), (64, 512), (512, FULL_ROWS)];

/// The next chunks to join, of chunks ordered by their start; `None` if they are fine as they are.
pub(super) fn group(chunks: &[Chunk]) -> Option<Vec<Chunk>> {
    let overlapping = overlaps(chunks).find(|group| group.len() > 1);
    let runs = || chunks.split(|chunk| chunk.rows >= FULL_ROWS);
    let of_a_size = || {
        SIZES.iter().find_map(|(smallest, size)| {
            let parts = runs().flat_map(move |run| run.split(move |chunk| chunk.rows >= *size));
            parts.map(|part| &part[..part.len().min(GROUP_MAX)]).find(|part| worth(part, *smallest))
        })
    };
    let found = overlapping.or_else(of_a_size).or_else(|| runs().find_map(makes_a_full_one))?;
    Some(found[..found.len().min(GROUP_MAX)].to_vec())
}

/// The first chunks of a run that fill one chunk when they are joined.
fn makes_a_full_one(run: &[Chunk]) -> Option<&[Chunk]> {
    let (mut first, mut rows) = (0, 0);
    for (n, chunk) in run.iter().enumerate() {
        rows += chunk.rows;
        while n - first >= GROUP_MAX || chunk.end_ms.saturating_sub(run[first].start_ms) > SPAN_MS_MAX {
            if first == n {
                break;
            }
            rows -= run[first].rows;
            first += 1;
        }
        if rows >= ROWS_MAX as u32 {
            return Some(&run[first..=n]);
        }
    }
    None
}

/// Maximal groups of chunks that share more than a moment with one before them in the group.
fn overlaps(chunks: &[Chunk]) -> impl Iterator<Item = &[Chunk]> {
    let mut rest = chunks;
    std::iter::from_fn(move || {
        let mut end = rest.first()?.end_ms;
        let apart = rest.iter().skip(1).position(|chunk| {
            let apart = chunk.start_ms >= end;
            end = end.max(chunk.end_ms);
            apart
        });
        let (group, tail) = rest.split_at(apart.map_or(rest.len(), |n| n + 1));
        rest = tail;
        Some(group)
    })
}

/// True if there are enough chunks of this size and joining makes at most half as many: a chunk's count and span are
/// limited.
fn worth(part: &[Chunk], rows_min: u32) -> bool {
    let (mut pieces, mut rows, mut start_ms) = (0, ROWS_MAX as u32, 0);
    for chunk in part {
        if rows + chunk.rows > ROWS_MAX as u32 || chunk.end_ms.saturating_sub(start_ms) > SPAN_MS_MAX {
            (pieces, rows, start_ms) = (pieces + 1, 0, chunk.start_ms);
        }
        rows += chunk.rows;
    }
    let of_size = part.iter().filter(|chunk| chunk.rows >= rows_min).count();
    of_size >= JOIN_MIN && pieces * 2 <= part.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(n: usize, start_ms: i64, end_ms: i64, rows: u32) -> Chunk {
        Chunk { id: n as i64, start_ms, end_ms, rows }
    }

    /// Chunks one behind the other, each an hour long.
    fn row_of(sizes: &[u32]) -> Vec<Chunk> {
        let one = |(n, rows): (usize, &u32)| {
            let start_ms = n as i64 * 3_600_000;
            chunk(n, start_ms, start_ms + 3_500_000, *rows)
        };
        sizes.iter().enumerate().map(one).collect()
    }

    fn ids(chunks: &[Chunk]) -> Option<Vec<i64>> {
        group(chunks).map(|group| group.iter().map(|chunk| chunk.id).collect())
    }

    #[test]
    fn eight_of_a_size_are_joined_and_so_is_what_fills_a_chunk() {
        for (sizes, expected) in [
            (vec![], None),
            (vec![50; 7], None),
            (vec![50; 8], Some((0..8).collect())),
            (vec![50; 100], Some((0..64).collect())),
            ([vec![400; 7], vec![50; 7]].concat(), None),
            ([vec![400; 7], vec![50; 8]].concat(), Some((7..15).collect())),
            ([vec![400; 8], vec![50; 3]].concat(), Some((0..11).collect())),
            (vec![3_000; 2], None),
            (vec![3_000; 4], Some((0..3).collect())),
            (vec![8_192, 3_200, 3_200, 400, 400, 400], None),
            ([vec![8_192, 3_200, 3_200], vec![400; 5]].concat(), Some((1..8).collect())),
            ([vec![5_000], vec![3_000; 8]].concat(), Some((1..9).collect())),
            (vec![8_192; 20], None),
            ([vec![50; 5], vec![5_000], vec![50; 5]].concat(), None),
        ] {
            assert_eq!(ids(&row_of(&sizes)), expected, "{sizes:?}");
        }
    }

    #[test]
    fn chunks_that_cannot_become_fewer_are_left_alone() {
        let month = 31 * 86_400_000;
        let slow: Vec<_> =
            (0..12).map(|n| chunk(n, n as i64 * month, (n as i64 + 1) * month - 1, 744)).collect();
        assert_eq!(ids(&slow), None, "each spans a month already");
    }

    #[test]
    fn what_overlaps_is_joined_whatever_its_size_and_what_only_touches_is_not() {
        let big = |n: usize, start| chunk(n, start, start + 1_000, 8_192);
        assert_eq!(ids(&[big(1, 0), big(2, 1_000), big(3, 2_000)]), None);
        let late = chunk(4, 500, 1_500, 10);
        assert_eq!(ids(&[big(1, 0), late, big(2, 1_000), big(3, 5_000)]), Some(vec![1, 4, 2]));
        let wide = chunk(9, 0, 1 << 40, 10);
        let many: Vec<_> = std::iter::once(wide).chain((0..200).map(|n| big(n, n as i64 * 2_000))).collect();
        assert_eq!(group(&many).map(|group| group.len()), Some(GROUP_MAX));
    }
}
