// Package vm runs Debian in a virtual machine as the gateway of a lab: with its own
// kernel, systemd as PID 1, and the network managers and DHCP clients that people have.
// Everything around it is package lab's, in namespaces: the LAN's client, the wires with
// their faults, the ISPs and the internet.
//
//	client ──┐                  ┌──wire── ISP 1, DHCP ──┐
//	         └─ lan0 QEMU wan0 ─┘                       ├── internet
//	                      wan1 ─────wire── ISP 2, DHCP ─┘
//
// The guest's network cards are QEMU's, connected by unix sockets to this process, which
// carries their frames to and from the links of the lab's (empty) gateway namespace: no
// root, bridge or tap on the machine itself is needed beyond what a lab needs. Commands
// reach the guest by a serial channel, files as a tar archive on a second disk.
//
// The ISPs' servers are the package's own, so that nothing but the guest's kernel has to
// know what they speak: DHCP (Provider), router advertisements and DHCPv6 (Router6),
// PPPoE (Concentrator). A card may be on a VLAN.
//
// Images are made by the script image from Debian's packages, with the mirror that apt
// uses, and kept in the user's cache folder, by the hash of the script. That needs root
// once. A guest never writes to its image.
//
// KVM is used where a guest boots with it, otherwise software emulation, with one
// processor: a guest that says nothing on its console for long is ended and tried again.
//
// The tests play nothing unless -vm.debian names releases: make test-vm.
package vm
