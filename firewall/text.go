package firewall

import (
	"fmt"
	"strings"
	"time"

	"swerve/lane"
)

// tableName is the name of our only table, in family inet.
const tableName = "swerve"

// String returns the table as nft(8) text, with the reason for each chain above it.
// As a script it adds to what the kernel holds: see Replacement.
func (t Table) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "table inet %s {\n", tableName)
	fmt.Fprint(&b, "  # Packets by uplink, its new flows, flows that moved to another one by themselves, connections that were\n",
		"  # reset, and flows that began elsewhere while it was shunned. Packets answered with a reset, those of no\n",
		"  # flow among them (graced), kept off an uplink that their policy may never use (guard), and dropped because\n",
		"  # their address belongs elsewhere (stray). Probes that\n",
		"  # left by their uplink, and those dropped because they would have left elsewhere. Their answers that came by\n",
		"  # it, and those that came by another device (away); of its other flows those that did so (returned).\n")
	for _, c := range t.counters {
		fmt.Fprintf(&b, "  counter %s { }\n", c)
	}
	for i, s := range t.goal.userSets() {
		if i == 0 {
			writeAbout(&b, "Addresses that others fill in.")
		}
		s.write(&b)
	}
	for _, set := range []struct {
		about, name string
		timeout     time.Duration
	}{
		{"For a minute after the kernel itself removed an uplink's entries: the devices that its flows now leave by.", graceSet, graceTime},
		{"While an uplink's address is renewed: the devices of the others, which its flows must not be sent by;", holdSet, holdTime},
		{"and its own, by which segments come in that the gateway must not answer with a reset.", lapsedSet, holdTime + lapsedTime},
	} {
		writeAbout(&b, set.about)
		fmt.Fprintf(&b, "  set %s {\n    type ifname\n    flags timeout\n    timeout %s\n  }\n", set.name, nftDuration(set.timeout))
	}
	writeAbout(&b, "Lanes of uplinks that something had to leave by another one, as they have no carrier.")
	fmt.Fprintf(&b, "  set %s {\n    type mark\n    size %d\n    flags dynamic,timeout\n    timeout %s\n  }\n", fallenSet, lane.LastUplink+1, nftDuration(fallenTime))
	for i, s := range t.calls {
		if i == 0 {
			writeAbout(&b, "Who asked a UDP socket of the gateway that is bound to no address, by the address that was asked: its\n"+
				"own address and port, and the socket's port.")
		}
		s.write(&b)
	}
	for i, s := range t.rescues {
		if i == 0 {
			writeAbout(&b, "Who had addresses tried by the next uplink; for each policy: addresses that are tried there, that answer there\n"+
				"only, that answer nowhere, and that the policy's own uplink has reached of late.")
		}
		s.write(&b)
	}
	for _, m := range t.maps {
		m.write(&b)
	}
	for _, c := range t.chains {
		c.write(&b)
	}
	b.WriteString("}\n")
	return b.String()
}

// Replacement returns an nft(8) script that replaces the table that the kernel
// holds, in one transaction. Counters restart at zero, unlike with Apply.
func (t Table) Replacement() string {
	return fmt.Sprintf("add table inet %[1]s\ndelete table inet %[1]s\n%[2]s", tableName, t)
}

func (m verdictMap) write(b *strings.Builder) {
	writeAbout(b, m.about)
	fmt.Fprintf(b, "  map %s {\n    %s : verdict\n", m.name, m.keys.text)
	if m.keys.interval {
		b.WriteString("    flags interval\n")
	}
	if len(m.elements) > 0 {
		b.WriteString("    elements = {")
		written := 0
		for _, e := range m.elements {
			const perLine = 4
			if e.end {
				continue
			}
			if written%perLine == 0 {
				b.WriteString("\n     ")
			}
			written++
			verdict, _ := e.verdict()
			fmt.Fprintf(b, " %s : %s,", e.text, verdict)
		}
		b.WriteString("\n    }\n")
	}
	b.WriteString("  }\n")
}

func (c chain) write(b *strings.Builder) {
	writeAbout(b, c.about)
	fmt.Fprintf(b, "  chain %s {\n", c.name)
	if c.base != nil {
		fmt.Fprintf(b, "    type %s hook %s priority %s; policy accept;\n", c.base.kind, c.base.hookText, c.base.priorityText)
	}
	for _, r := range c.rules {
		fmt.Fprintf(b, "    %s\n", r)
	}
	b.WriteString("  }\n")
}

func writeAbout(b *strings.Builder, about string) {
	if about == "" {
		return
	}
	for line := range strings.Lines(about) {
		fmt.Fprintf(b, "  # %s\n", strings.TrimRight(line, "\n"))
	}
}
