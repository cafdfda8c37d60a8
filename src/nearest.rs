//! What was probably meant by a name that is not known.

/// The name that was most likely meant, if any is near.
pub(crate) fn nearest<'n>(word: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    if word.len() > 100 {
        return None;
    }
    let folded = word.to_lowercase();
    let scored = names.map(|name| (strsim::jaro_winkler(&folded, &name.to_lowercase()), name));
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0));
    best.filter(|(score, _)| *score > 0.75)
        .map(|(_, name)| name)
}
