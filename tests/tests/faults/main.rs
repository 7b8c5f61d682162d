//! The faults of FAULTS.md, as short as they can be shown: real services, real registries and a real load.

use std::path::PathBuf;

use micro_tests::laboratory::{Backend, Pace, Setup, scenarios::ALL};

/// One test for each scenario and registry, and one that none of them is missing.
macro_rules! faults {
    ($($module:ident $backend:ident { $($name:ident,)* })*) => {
        $(mod $module {
            use super::*;

            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    shows(stringify!($name), Backend::$backend).await;
                }
            )*
        })*

        const SHOWN: &[(&str, Backend)] = &[$($((stringify!($name), Backend::$backend),)*)*];
    };
}

faults! {
    mdns Mdns {
        f01_killed,
        f02_rolling_restart,
        f04_stop_twice,
        f05_stopped,
        f05_stalled,
        f06_slow,
        f07_failing,
        f08_all_ill,
        f33_another_service,
        f36_wall_clock,
        f37_no_files,
        f41_memory,
        f43_slow_handlers,
        f44_panics,
        f45_disk_full,
    }
    consul Consul {
        f01_killed,
        f02_rolling_restart,
        f02_under_long_calls,
        f03_stop_without_registry,
        f08_all_ill,
        f09_black_hole,
        f11_registry_down_at_start,
        f12_memory_lost,
        f12_memory_of_three_lost,
        f13_registry_away,
        f14_leader_killed,
        f15_quorum_lost,
        f16_registry_slow,
        f17_registry_hangs,
        f18_watch_silent,
        f20_counts_anew,
        f20_restored,
        f21_stood_still,
        f22_crowd,
        f25_token_replaced,
        f26_right_lost,
        f27_connections_taken,
        f32_id_taken,
        f32_id_of_its_own,
        f36_wall_clock,
        f38_client_without_files,
        f39_starved,
        f40_blocked,
        f42_overload,
    }
    etcd Etcd {
        f01_killed,
        f02_rolling_restart,
        f03_stop_without_registry,
        f08_all_ill,
        f11_registry_down_at_start,
        f12_memory_lost,
        f12_memory_of_three_lost,
        f13_registry_away,
        f14_leader_killed,
        f15_quorum_lost,
        f16_registry_slow,
        f17_registry_hangs,
        f18_watch_silent,
        f19_compacted,
        f20_counts_anew,
        f20_restored,
        f21_stood_still,
        f22_crowd,
        f32_id_taken,
        f32_id_of_its_own,
        f39_starved,
        f40_blocked,
    }
}

#[test]
fn every_scenario_is_shown_with_every_registry_it_can_happen_with() {
    for scenario in ALL {
        for backend in scenario.backends {
            assert!(
                SHOWN.contains(&(scenario.name, *backend)),
                "{scenario:?} is not shown with {}",
                backend.name()
            );
        }
    }
}

#[test]
fn the_page_has_a_row_of_every_scenario_and_registry_and_no_others() {
    let page = include_str!("../../../docs/faults.md");
    let (_, table) = page.split_once("\n|---|").expect("a table");
    let rows = table.lines().skip(1).take_while(|line| line.starts_with('|'));
    let mut rows: Vec<_> = rows
        .map(|row| {
            let mut cells = row.split('|').skip(1).map(str::trim);
            let (scenario, registry) = (cells.next().unwrap(), cells.next().unwrap());
            // How often or for how long it ran stands behind its name.
            let name = scenario.split(',').next().unwrap();
            (name.to_owned(), registry.to_owned())
        })
        .collect();
    let mut expected: Vec<_> = ALL
        .iter()
        .flat_map(|scenario| {
            let backends = scenario.backends.iter();
            backends.map(|backend| (scenario.name.to_owned(), backend.name().to_owned()))
        })
        .collect();
    rows.sort();
    expected.sort();
    assert_eq!(rows, expected);
}

/// Runs the scenario, and holds what came out against what is allowed.
async fn shows(name: &str, backend: Backend) {
    let setup = Setup {
        pace: Pace::Short,
        backend,
        probe: PathBuf::from(env!("CARGO_BIN_EXE_micro-probe")),
    };
    let scenario = ALL.iter().find(|scenario| scenario.name == name);
    let scenario = scenario.unwrap_or_else(|| panic!("there is no scenario {name}"));
    scenario.run(setup).await.assert(Pace::Short);
}
