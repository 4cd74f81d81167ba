package firewall

import (
	"bufio"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/google/nftables"

	"swerve/failover"
)

// Blind reports whether the kernel has forwarded packets of a family, or has open TCP
// connections, without tracking any connection of it: until something asks for it,
// connections are not tracked, so nothing shows which sources need no NAT.
func (k *Kernel) Blind() (bool, error) {
	sent, err := untracked()
	if err != nil {
		return false, fmt.Errorf("firewall: count what was sent: %w", err)
	}
	if sent == (sentUntracked{}) {
		return false, nil
	}
	_, err = eachFlow(0, func(f flow) (flowChange, uint32) {
		sent.open, sent.forwarded[f.family] = 0, 0
		return keepFlow, 0
	})
	if err != nil {
		return false, fmt.Errorf("firewall: read flows: %w", err)
	}
	return sent != (sentUntracked{}), nil
}

// sentUntracked are the open TCP connections of this machine, and how many packets of
// each family it has forwarded.
type sentUntracked struct {
	open      uint64
	forwarded [2]uint64
}

func untracked() (out sentUntracked, err error) {
	counters := "/proc/thread-self/net/snmp" // of the thread's network namespace
	if out.open, err = counterIn(counters, "CurrEstab"); err != nil {
		return out, err
	}
	if out.forwarded[failover.IPv4], err = counterIn(counters, "ForwDatagrams"); err != nil {
		return out, err
	}
	out.forwarded[failover.IPv6], err = counterIn(counters+"6", "Ip6OutForwDatagrams")
	return out, err
}

// Watch has the kernel track connections and changes nothing else: our table then has
// one rule, which asks for their state. Apply replaces it.
func (k *Kernel) Watch() error {
	return k.Apply(Table{chains: []chain{{
		name:  "forward",
		base:  hooked(nftables.ChainTypeFilter, nftables.ChainHookForward, "forward", "filter - 5", filterEarlier),
		rules: []rule{newRule(ctStateNew, returns)},
	}}})
}

// counterIn reads a counter from a file of the kernel that has a name and a value a
// line, or a line of names before one of values. A file or counter that does not exist
// is zero.
func counterIn(path, name string) (uint64, error) {
	file, err := os.Open(path)
	if os.IsNotExist(err) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		i := slices.Index(words, name)
		if i < 0 {
			continue
		}
		if i == 0 && len(words) == 2 {
			return strconv.ParseUint(words[1], 10, 64)
		}
		if !lines.Scan() {
			break
		}
		values := strings.Fields(lines.Text())
		if i >= len(values) {
			return 0, fmt.Errorf("%s has no value of %s", path, name)
		}
		return strconv.ParseUint(values[i], 10, 64)
	}
	return 0, lines.Err()
}
