//! How Consul finds out whether a node is alive.

use std::{fmt, str::FromStr, time::Duration};

use micro_registry::{Error, ErrorKind, Node, Result};
use serde::Serialize;

/// The least that Consul waits before it forgets a service that is critical.
pub(crate) const DEREGISTER_CRITICAL_AFTER_MIN: Duration = Duration::from_secs(60);
const INTERVAL: Duration = Duration::from_secs(10);
const TIMEOUT: Duration = Duration::from_secs(5);

/// How Consul finds out whether a node is alive.
///
/// ```
/// use micro_registry_consul::Check;
///
/// assert_eq!("grpc".parse::<Check>()?, Check::Grpc);
/// # Ok::<(), micro_registry::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Check {
    /// The node says so: each registration holds for its ttl. The one check that keeps to the ttl.
    #[default]
    Ttl,
    /// The agent asks `grpc.health.v1` of the node for its overall health.
    Grpc,
    /// The agent gets `/ready` of the node over HTTP.
    Http,
    /// The agent connects to the node. Weak: a process that hangs is connected to all the same.
    Tcp,
}

/// A check with its times.
#[derive(Clone, Debug)]
pub(crate) struct CheckSettings {
    pub(crate) check: Check,
    /// Between two questions of the agent's.
    pub(crate) interval: Duration,
    /// For the answer.
    pub(crate) timeout: Duration,
    /// After which a critical node is forgotten altogether.
    pub(crate) deregister_critical_after: Duration,
}

/// A check as Consul is told of it.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Definition {
    #[serde(rename = "TTL", skip_serializing_if = "Option::is_none")]
    ttl: Option<String>,
    #[serde(rename = "GRPC", skip_serializing_if = "Option::is_none")]
    grpc: Option<String>,
    #[serde(rename = "HTTP", skip_serializing_if = "Option::is_none")]
    http: Option<String>,
    #[serde(rename = "TCP", skip_serializing_if = "Option::is_none")]
    tcp: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interval: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<String>,
    #[serde(rename = "GRPCUseTLS", skip_serializing_if = "is_false")]
    grpc_use_tls: bool,
    #[serde(rename = "TLSSkipVerify", skip_serializing_if = "is_false")]
    tls_skip_verify: bool,
    status: &'static str,
    deregister_critical_service_after: String,
}

impl Default for CheckSettings {
    fn default() -> Self {
        Self {
            check: Check::default(),
            interval: INTERVAL,
            timeout: TIMEOUT,
            deregister_critical_after: DEREGISTER_CRITICAL_AFTER_MIN,
        }
    }
}

impl CheckSettings {
    /// What is told of a node that is renewed within `ttl`.
    pub(crate) fn definition(&self, node: &Node, ttl: Duration) -> Definition {
        let (address, over_tls) = (node.address(), node.wants_tls());
        let mut definition = Definition {
            // Whoever registers is alive. What an agent had as critical stays so, whatever is said here.
            status: "passing",
            deregister_critical_service_after: consul(self.deregister_critical_after),
            ..Definition::default()
        };
        match self.check {
            Check::Ttl => {
                definition.ttl = Some(consul(ttl));
                return definition;
            }
            Check::Grpc => {
                definition.grpc = Some(address.to_string());
                definition.grpc_use_tls = over_tls;
                // The agent asks whether the node is alive, not who it is.
                definition.tls_skip_verify = over_tls;
            }
            Check::Http => {
                let scheme = if over_tls { "https" } else { "http" };
                definition.http = Some(format!("{scheme}://{address}/ready"));
                definition.tls_skip_verify = over_tls;
            }
            Check::Tcp => definition.tcp = Some(address.to_string()),
        }
        definition.interval = Some(consul(self.interval));
        definition.timeout = Some(consul(self.timeout));
        definition
    }
}

impl FromStr for Check {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let all = [Self::Ttl, Self::Grpc, Self::Http, Self::Tcp];
        all.into_iter()
            .find(|check| check.to_string() == text)
            .ok_or_else(|| {
                let message = format!("check {text:?} is unknown; allowed are ttl, grpc, http and tcp");
                Error::new(ErrorKind::InvalidArgument, message)
            })
    }
}

/// The name by which it is chosen.
impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ttl => "ttl",
            Self::Grpc => "grpc",
            Self::Http => "http",
            Self::Tcp => "tcp",
        })
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// A duration as Consul reads it.
fn consul(duration: Duration) -> String {
    format!("{}ms", duration.as_millis())
}

#[cfg(test)]
mod tests {
    use micro_registry::TLS_KEY;

    use super::*;

    fn told(check: Check) -> String {
        told_of(check, "false")
    }

    fn told_of(check: Check, tls: &str) -> String {
        let settings = CheckSettings {
            check,
            ..CheckSettings::default()
        };
        let address = "[2001:db8::1]:9090".parse().unwrap();
        let node = Node::builder("greeter".parse().unwrap(), "greeter-1", address).metadata(TLS_KEY, tls);
        let definition = settings.definition(&node.build().unwrap(), Duration::from_secs(30));
        serde_json::to_string(&definition).unwrap()
    }

    #[test]
    fn each_check_is_told_as_consul_expects_it() {
        let rest = r#""Status":"passing","DeregisterCriticalServiceAfter":"60000ms"}"#;
        let times = format!(r#""Interval":"10000ms","Timeout":"5000ms",{rest}"#);
        assert_eq!(told(Check::Ttl), format!(r#"{{"TTL":"30000ms",{rest}"#));
        assert_eq!(
            told(Check::Grpc),
            format!(r#"{{"GRPC":"[2001:db8::1]:9090",{times}"#)
        );
        assert_eq!(
            told(Check::Http),
            format!(r#"{{"HTTP":"http://[2001:db8::1]:9090/ready",{times}"#)
        );
        assert_eq!(
            told(Check::Tcp),
            format!(r#"{{"TCP":"[2001:db8::1]:9090",{times}"#)
        );
    }

    #[test]
    fn a_node_that_speaks_tls_is_asked_over_tls() {
        let rest = r#""Status":"passing","DeregisterCriticalServiceAfter":"60000ms"}"#;
        let skip = format!(
            r#""Interval":"10000ms","Timeout":"5000ms","GRPCUseTLS":true,"TLSSkipVerify":true,{rest}"#
        );
        assert_eq!(
            told_of(Check::Grpc, "true"),
            format!(r#"{{"GRPC":"[2001:db8::1]:9090",{skip}"#)
        );
        assert_eq!(
            told_of(Check::Http, "true"),
            format!(
                r#"{{"HTTP":"https://[2001:db8::1]:9090/ready",{}"#,
                skip.replace(r#""GRPCUseTLS":true,"#, "")
            )
        );
        assert_eq!(told_of(Check::Ttl, "true"), told(Check::Ttl));
    }

    #[test]
    fn a_check_is_chosen_by_its_name() {
        for check in [Check::Ttl, Check::Grpc, Check::Http, Check::Tcp] {
            assert_eq!(check.to_string().parse::<Check>().unwrap(), check);
        }
        let error = "script".parse::<Check>().unwrap_err();
        assert!(
            error.to_string().contains("allowed are ttl, grpc, http and tcp"),
            "{error}"
        );
    }
}
