//! Medians, and the machine that they were measured on.

/// The median; the mean of the middle two where their number is even.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

/// Median of the ratios round by round, which hold when the machine's speed drifts.
pub(crate) fn ratio(mine: &[f64], theirs: &[f64]) -> f64 {
    median(&mine.iter().zip(theirs).map(|(mine, theirs)| mine / theirs).collect::<Vec<_>>())
}

/// Processor, cores and kernel.
pub(crate) fn machine() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown processor");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{} × {}, Linux {}", cores, model.trim_start_matches([' ', '\t', ':']), kernel.trim())
}
