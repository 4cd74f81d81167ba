// Command profiles plays days of real links to the decision engine, each as the first of
// two uplinks, and prints what the engine made of it: false verdicts a day, new flows that
// went elsewhere without need, how soon a true outage was left, what was probed.
//
//	make simulate                                       the table in docs/DECISION.md
//	go run ./testenv/profiles -only Starlink -days 30
//
// Rules are judged by it, so it plays variants side by side, on the same lines with the
// same faults:
//
//	go run ./testenv/profiles -with 'health: {patience: 1s}' -with 'probe: {burst: {probes: 5}}'
//	go run ./testenv/profiles -beside main              the engine of another commit
//
// Equal options give equal tables: time is virtual, and all chance is seeded.
//
//   - main.go: the options
//   - profile.go: the links
//   - play.go: the worlds of a link: quiet and used, for verdicts; with outages; beside a
//     metered standby
//   - observe.go: what is counted in a world
//   - table.go: the table
//   - beside.go: another commit's engine
package main
