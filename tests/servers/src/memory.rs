//! What a test allocates.

use peak_alloc::PeakAlloc;

/// By how many bytes what the process has allocated in `memory`, its global allocator, grows at most while `work` is done.
/// Nothing else may run meanwhile.
pub fn peak_growth<T>(memory: &PeakAlloc, work: impl FnOnce() -> T) -> usize {
    let before = memory.current_usage();
    memory.reset_peak_usage();
    let done = work();
    let peak = memory.peak_usage();
    drop(done);
    peak - before
}
