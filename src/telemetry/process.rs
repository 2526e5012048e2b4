//! What the kernel tells of this process (proc(5)); on systems without `/proc` nothing.

use std::{
    fs,
    sync::{Mutex, PoisonError},
};

use opentelemetry::KeyValue;

use super::metrics::Metrics;

/// Ticks a second in `/proc/self/stat`: part of the interface of Linux, whatever the kernel ticks at.
const TICKS: f64 = 100.0;

impl Metrics {
    /// Has memory, descriptors and time of the processor looked at whenever somebody asks.
    pub(super) fn observe_process(&self) {
        let meter = &self.0.meter;
        meter
            .i64_observable_up_down_counter("process.memory.usage")
            .with_unit("By")
            .with_description("Resident memory")
            .with_callback(|observer| {
                if let Some(bytes) = resident_bytes() {
                    observer.observe(bytes, &[]);
                }
            })
            .build();
        meter
            .i64_observable_up_down_counter("process.unix.file_descriptor.count")
            .with_unit("{file_descriptor}")
            .with_description("Open file descriptors")
            .with_callback(|observer| {
                if let Ok(open) = fs::read_dir("/proc/self/fd") {
                    observer.observe(i64::try_from(open.count()).unwrap_or(i64::MAX), &[]);
                }
            })
            .build();
        // Counters never go back, so the most that was told counts.
        let told = Mutex::new((0.0_f64, 0.0_f64));
        meter
            .f64_observable_counter("process.cpu.time")
            .with_unit("s")
            .with_description("Time on processors")
            .with_callback(move |observer| {
                let Some((user, system)) = cpu_seconds() else { return };
                let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
                *told = (told.0.max(user), told.1.max(system));
                for (mode, seconds) in [("user", told.0), ("system", told.1)] {
                    observer.observe(seconds, &[KeyValue::new("cpu.mode", mode)]);
                }
            })
            .build();
    }
}

fn resident_bytes() -> Option<i64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: i64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1_024)
}

/// Seconds in user and in system mode.
fn cpu_seconds() -> Option<(f64, f64)> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program, in parentheses, may have anything in it.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let mut seconds = || Some(fields.next()?.parse::<f64>().ok()? / TICKS);
    Some((seconds()?, seconds()?))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_is_understood() {
        assert!(resident_bytes().is_some_and(|bytes| bytes > 1 << 20));
        assert!(cpu_seconds().is_some_and(|(user, system)| user + system < 1e6));
    }
}
