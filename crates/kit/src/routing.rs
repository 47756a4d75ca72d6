//! Who hears of which alert, out of an Alertmanager's configuration: that of the kit, or the one
//! that a running Alertmanager shows (`GET /api/v2/status`), which is the same written out with its
//! defaults and without its secrets. Addresses, waits and templates are not compared: they are the
//! operator's.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::{File, KitError};

/// The configuration within the kit.
const FILE: &str = "alertmanager/alertmanager.yml";

/// Receivers, routes and inhibitions of one configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Routing {
    /// The kinds of integration of each receiver, such as `slack_configs`.
    receivers: BTreeMap<String, BTreeSet<String>>,
    /// Every route below the first, however deep.
    routes: BTreeSet<Route>,
    inhibitions: BTreeSet<Inhibition>,
    intervals: BTreeSet<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Route {
    matchers: BTreeSet<String>,
    receiver: String,
    goes_on: bool,
    muted: BTreeSet<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Inhibition {
    source: BTreeSet<String>,
    target: BTreeSet<String>,
    equal: BTreeSet<String>,
}

impl Routing {
    /// The routing of a kit.
    ///
    /// # Errors
    /// [`KitError::Unreadable`] when the kit has no such file, or it is no configuration.
    pub fn of_kit(files: &[File]) -> Result<Self, KitError> {
        let refuse = |reason: String| KitError::Unreadable { file: FILE.to_owned(), reason };
        let file = files.iter().find(|file| file.path == FILE);
        let file = file.ok_or_else(|| refuse("it is not in the kit".to_owned()))?;
        Self::parse(file.text()?).map_err(refuse)
    }

    /// The routing of a configuration.
    ///
    /// # Errors
    /// Why the text is no configuration, in one line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let read: Configuration = serde_saphyr::from_str(text)
            .map_err(|error| error.to_string().lines().next().unwrap_or_default().to_owned())?;
        let mut routes = BTreeSet::new();
        read.route.collect("", &mut routes);
        let kinds = |receiver: Receiver| (receiver.name, receiver.kinds.into_keys().collect());
        let intervals = read.time_intervals.into_iter().chain(read.mute_time_intervals);
        Ok(Self {
            receivers: read.receivers.into_iter().map(kinds).collect(),
            routes,
            inhibitions: read.inhibit_rules.into_iter().map(InhibitRule::plain).collect(),
            intervals: intervals.map(|interval| interval.name).collect(),
        })
    }

    /// What `wanted` has and this has not, one line each.
    #[must_use]
    pub fn lacks(&self, wanted: &Self) -> Vec<String> {
        let mut faults = Vec::new();
        for (name, kinds) in &wanted.receivers {
            match self.receivers.get(name) {
                None => faults.push(format!("receiver {name}")),
                Some(held) => faults.extend(
                    kinds.difference(held).map(|kind| format!("{kind} of receiver {name}")),
                ),
            }
        }
        for route in wanted.routes.difference(&self.routes) {
            faults.push(format!("route of {} to {}", listed(&route.matchers), route.receiver));
        }
        for rule in wanted.inhibitions.difference(&self.inhibitions) {
            let (source, target) = (listed(&rule.source), listed(&rule.target));
            faults.push(format!("inhibition of {target} by {source}"));
        }
        let intervals = wanted.intervals.difference(&self.intervals);
        faults.extend(intervals.map(|name| format!("time interval {name}")));
        faults
    }

    /// Numbers of receivers, routes and inhibitions.
    #[must_use]
    pub fn counts(&self) -> [usize; 3] {
        [self.receivers.len(), self.routes.len(), self.inhibitions.len()]
    }
}

fn listed(matchers: &BTreeSet<String>) -> String {
    matchers.iter().cloned().collect::<Vec<_>>().join(", ")
}

#[derive(Deserialize)]
struct Configuration {
    route: Node,
    receivers: Vec<Receiver>,
    #[serde(default)]
    inhibit_rules: Vec<InhibitRule>,
    #[serde(default)]
    time_intervals: Vec<Named>,
    #[serde(default)]
    mute_time_intervals: Vec<Named>,
}

#[derive(Deserialize)]
struct Node {
    receiver: Option<String>,
    #[serde(default)]
    matchers: Vec<String>,
    #[serde(default, rename = "continue")]
    goes_on: bool,
    #[serde(default)]
    mute_time_intervals: BTreeSet<String>,
    #[serde(default)]
    routes: Vec<Node>,
}

impl Node {
    /// Takes the routes below this one; one without a receiver has its parent's.
    fn collect(self, parent: &str, routes: &mut BTreeSet<Route>) {
        let receiver = self.receiver.unwrap_or_else(|| parent.to_owned());
        for node in self.routes {
            routes.insert(Route {
                matchers: node.matchers.iter().map(|matcher| plain(matcher)).collect(),
                receiver: node.receiver.clone().unwrap_or_else(|| receiver.clone()),
                goes_on: node.goes_on,
                muted: node.mute_time_intervals.clone(),
            });
            node.collect(&receiver, routes);
        }
    }
}

#[derive(Deserialize)]
struct Receiver {
    name: String,
    #[serde(flatten)]
    kinds: BTreeMap<String, IgnoredAny>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
struct InhibitRule {
    #[serde(default)]
    source_matchers: Vec<String>,
    #[serde(default)]
    target_matchers: Vec<String>,
    #[serde(default)]
    equal: BTreeSet<String>,
}

impl InhibitRule {
    fn plain(self) -> Inhibition {
        let all = |matchers: &[String]| matchers.iter().map(|matcher| plain(matcher)).collect();
        let (source, target) = (all(&self.source_matchers), all(&self.target_matchers));
        Inhibition { source, target, equal: self.equal }
    }
}

/// A matcher without the freedom of its notation: no spaces, no quotes.
fn plain(matcher: &str) -> String {
    let at = matcher.find(['=', '!']).unwrap_or(matcher.len());
    let (name, rest) = matcher.split_at(at);
    let width = if rest.starts_with("=~") || rest.starts_with('!') { 2 } else { 1 };
    let (operator, value) = rest.split_at_checked(width).unwrap_or((rest, ""));
    format!("{}{operator}{}", name.trim(), value.trim().trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = "
route:
  receiver: chat
  routes:
    - matchers: [ 'severity = \"critical\"', team=~\"a|b\" ]
      receiver: pager
      continue: true
      routes: [{matchers: ['x!=\"y\"'], mute_time_intervals: [night]}]
inhibit_rules:
  - {source_matchers: [alertname=\"A\"], target_matchers: [alertname=\"B\"], equal: [job]}
receivers: [{name: chat, slack_configs: [{channel: x}]}, {name: pager, pagerduty_configs: []}]
time_intervals: [{name: night, time_intervals: []}]
";

    fn routing(text: &str) -> Routing {
        Routing::parse(text).expect("a configuration")
    }

    #[test]
    fn notation_and_order_do_not_matter() {
        assert_eq!(routing(SMALL).counts(), [2, 2, 1]);
        let (one, two) =
            ("'severity = \"critical\"', team=~\"a|b\"", "'team =~ \"a|b\"', severity=critical");
        let other = SMALL.replace(one, two);
        assert_ne!(other, SMALL);
        assert_eq!(routing(&other), routing(SMALL));
        assert!(routing(SMALL).lacks(&routing(&other)).is_empty());
    }

    #[test]
    fn each_kind_of_thing_that_is_gone_is_named() {
        let whole = routing(SMALL);
        for (from, to, fault) in [
            ("name: pager", "name: page", "receiver pager"),
            ("slack_configs", "webhook_configs", "slack_configs of receiver chat"),
            ("continue: true", "continue: false", "route of severity=critical, team=~a|b to pager"),
            ("[night]}", "[]}", "route of x!=y to pager"),
            ("equal: [job]", "equal: []", "inhibition of alertname=B by alertname=A"),
            ("[{name: night", "[{name: day", "time interval night"),
        ] {
            let text = SMALL.replace(from, to);
            assert_ne!(text, SMALL, "{from}");
            assert_eq!(routing(&text).lacks(&whole), [fault], "{from}");
        }
    }

    #[test]
    fn what_is_no_configuration_is_refused() {
        for text in ["", "route: [", "receivers: []", "route: 3\nreceivers: []", "[1, 2]", "\0"] {
            assert!(Routing::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_kit_has_one() {
        let routing = Routing::of_kit(&crate::files()).expect("it is there");
        let [receivers, routes, inhibitions] = routing.counts();
        assert!(receivers > 3 && routes > 3 && inhibitions > 3);
        assert!(Routing::of_kit(&[]).is_err());
    }
}
