use std::fmt::Write;
use std::time::Duration;

use aoe_target::definition::Address;

use crate::histogram::Histogram;
use crate::load::Measured;

/// What is told beside the load itself.
#[derive(Debug, Default)]
pub struct Around {
    pub bytes_per_request: u64,
    /// CPU time of the target's processes during the load, and of this one.
    pub target_cpu: Option<Duration>,
    pub own_cpu: Duration,
    /// KiB.
    pub resident: Option<u64>,
    /// Answers that our own ring had no room for.
    pub dropped: u32,
    /// Blocks whose content was compared with what was written last.
    pub compared: u64,
}

/// One line of JSON. Times are in microseconds, except `seconds` and `slowestAt` (ns of the monotonic clock).
pub fn json(measured: &Measured, around: &Around, each: Option<&[Address]>) -> String {
    let seconds = measured.elapsed.as_secs_f64();
    let answered = measured.latency.total();
    let per_request = |time: Duration| time.as_secs_f64() * 1e6 / answered.max(1) as f64;
    let mut out = String::from("{");
    let mut put = |name: &str, value: f64| {
        let comma = if out.len() > 1 { "," } else { "" };
        let _ = write!(out, "{comma}\"{name}\":{}", (value * 1000.0).round() / 1000.0);
    };
    put("seconds", seconds);
    put("answered", answered as f64);
    put("iops", answered as f64 / seconds);
    put("megabytesPerSecond", (answered * around.bytes_per_request) as f64 / seconds / 1e6);
    for (name, share) in [("p50", 0.5), ("p99", 0.99), ("p999", 0.999)] {
        put(name, measured.latency.percentile(share) as f64 / 1e3);
    }
    put("max", measured.latency.max() as f64 / 1e3);
    put("slowestAt", measured.slowest_at as f64);
    put("retransmits", measured.counts.retransmits as f64);
    put("late", measured.counts.late as f64);
    put("wrong", measured.counts.wrong as f64);
    put("unanswered", measured.counts.unanswered as f64);
    put("compared", around.compared as f64);
    put("dropped", f64::from(around.dropped));
    put("ownCpuPerRequest", per_request(around.own_cpu));
    if let Some(cpu) = around.target_cpu {
        put("cpuPerRequest", per_request(cpu));
        put("cpuShare", cpu.as_secs_f64() / seconds);
    }
    if let Some(resident) = around.resident {
        put("residentKiB", resident as f64);
    }
    if let Some(addresses) = each {
        let volumes: Vec<String> = addresses.iter().zip(&measured.each).map(|(address, latency)| volume(*address, latency)).collect();
        let _ = write!(out, ",\"each\":[{}]", volumes.join(","));
    }
    out + "}"
}

fn volume(address: Address, latency: &Histogram) -> String {
    let micros = |share: f64| latency.percentile(share) as f64 / 1e3;
    let (p50, p99, max) = (micros(0.5), micros(0.99), micros(1.0));
    format!("{{\"volume\":\"{address}\",\"answered\":{},\"p50\":{p50},\"p99\":{p99},\"max\":{max}}}", latency.total())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_follow_from_time_and_answers() {
        let mut measured = Measured { elapsed: Duration::from_millis(500), ..Measured::default() };
        let mut slow = Histogram::default();
        for micros in [10, 20, 30, 40] {
            measured.latency.add(micros * 1000);
            slow.add(micros * 1000);
        }
        measured.each = vec![slow];
        measured.counts.retransmits = 2;
        let around = Around { bytes_per_request: 4096, target_cpu: Some(Duration::from_micros(20)), ..Around::default() };
        let text = json(&measured, &around, Some(&[Address { shelf: 7, slot: 3 }]));
        for part in
            ["{\"seconds\":0.5,\"answered\":4,\"iops\":8,", "\"megabytesPerSecond\":0.033,", "\"retransmits\":2,", "\"cpuPerRequest\":5,"]
        {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(text.ends_with("\"answered\":4,\"p50\":20.095,\"p99\":40,\"max\":40}]}"), "{text}");
        assert!(!text.contains("resident"));
    }
}
