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
// clients that measure the cost of a fault, and package netns the namespaces.
//
// Nothing has a name on the machine, so any number of labs can run concurrently, and
// nothing remains, however the program ends: only this process refers to the
// namespaces, the links and the daemons' folders. A lab needs root, possibly of a user
// namespace, and no installed program.
//
//	l := lab.NewTest(t, lab.Options{})
//	swerve, g := l.Drive(t, lab.Setup{Binary: "bin/swerve", Config: lab.TwoUplinks})
//	g.Start()
//	g.Await("fiber to carry", lab.Settled)
//	fault := g.Break(lab.Fiber, "black-hole")
//	…
//	g.Mend(fault)
//
// A Gateway is the machine that runs the daemon, as scenarios see it; Swerve is a
// Gateway in a lab's namespace. A Driver operates a Gateway for a test.
//
// Only tests, the demo and benchmarks import it.
package lab
