//! What a process has used: processor time and memory, as the system accounts for it.

use std::{fs, time::Duration};

use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeValLike as _,
};

use crate::Result;

/// The ticks of a second in `/proc`: what `sysconf(_SC_CLK_TCK)` says on every Linux of today.
const TICKS_PER_SECOND: f64 = 100.0;

/// The processor time that this process has used, of user and system.
pub(crate) fn own_cpu() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(Duration::from_micros(u64::try_from(micros)?))
}

/// The most memory that this process has had at once, in bytes.
pub(crate) fn own_peak_memory() -> Result<u64> {
    Ok(u64::try_from(getrusage(UsageWho::RUSAGE_SELF)?.max_rss())? * 1024)
}

/// The memory that this process has at present, in bytes.
pub(crate) fn own_memory() -> Result<u64> {
    status("self", "VmRSS")
}

/// The most memory that another process has had at once since [`forget_peak_memory_of`], in bytes.
pub(crate) fn peak_memory_of(process: u32) -> Result<u64> {
    status(&process.to_string(), "VmHWM")
}

/// Begins anew to look for the most memory that a process has.
pub(crate) fn forget_peak_memory_of(process: u32) -> Result<()> {
    // What proc(5) says of `clear_refs`.
    Ok(fs::write(format!("/proc/{process}/clear_refs"), "5")?)
}

/// A figure of a process, which `/proc` gives in KiB, in bytes.
fn status(process: &str, name: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let mut lines = status.lines().filter_map(|line| line.split_once(':'));
    let figure = lines.find_map(|(known, figure)| (known == name).then_some(figure));
    let kib = figure.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    Ok(kib.ok_or_else(|| format!("/proc/{process}/status has no {name}"))? * 1024)
}

/// The processor time that another process has used, to a hundredth of a second.
pub(crate) fn cpu_of(process: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name, in parentheses, may have spaces; what follows has none.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let mut ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<f64>);
    let (Some(Ok(user)), Some(Ok(system))) = (ticks.next(), ticks.next()) else {
        return Err(format!("/proc/{process}/stat has no times: {stat:?}").into());
    };
    Ok(Duration::from_secs_f64((user + system) / TICKS_PER_SECOND))
}
