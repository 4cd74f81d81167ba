// Package lab builds the lab in which Swerve is tested, measured and shown: a
// LAN client, a gateway, two or three ISPs and an internet, in network namespaces
// of one machine, with both address families everywhere.
//
//	client ── lan0 gateway wan0 ──wire── ISP 1 ──┐
//	                       wan1 ──wire── ISP 2 ──┼── internet: targets, server
//	                       wan2 ──wire── ISP 3 ──┘
//
// The gateway's routes are as a DHCP client and router advertisements leave them.
// Every uplink runs over a wire (package wire) whose delay, loss, rate and silence
// can change at any time; Lab.Fault breaks it by name. Package traffic has the
// clients that tell what a fault felt like, and package netns the namespaces.
//
// Nothing has a name on the machine, so any number of labs can run side by side,
// and nothing stays behind whatever ends the program: namespaces, links and the
// daemons' folders are held by this process alone. A lab needs root, also
// that of a user namespace, and no installed program.
//
//	l := lab.NewTest(t, lab.Options{})
//	swerve, err := l.StartDaemon("bin/swerve", "--socket", "{dir}/sock", "run", "-c", config)
//	fault, err := l.Fault(0, "black-hole")
//	…
//	err = fault.Undo()
//
// Only tests, the demo and benchmarks import it.
package lab
