package firewall

import (
	"bytes"
	"encoding/binary"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// FiltersReversePaths reports whether rules of other programs may drop what comes in by
// another device than the one that leads to its source: an expression fib that looks up
// the source with the device, or iptables' match rpfilter. Rules of iptables-legacy are
// not seen. It reads all rules of the machine in one dump.
func (k *Kernel) FiltersReversePaths() (bool, error) {
	places, err := k.rulesWith(reversing)
	for _, at := range places {
		if at.table != tableName || nftables.TableFamily(at.family) != nftables.TableFamilyINet {
			return true, err
		}
	}
	return false, err
}

// Flags of NFTA_FIB_FLAGS.
const fibSource, fibDevice = 1 << 0, 1 << 3

// reversing reports whether a rule may look up the way back to a packet's source.
func reversing(exprs []byte) bool {
	if bytes.Contains(exprs, []byte("rpfilter\x00")) {
		return true
	}
	if !bytes.Contains(exprs, []byte("fib\x00")) {
		return false
	}
	flags := binary.NativeEndian.AppendUint16(nil, 8)
	flags = binary.NativeEndian.AppendUint16(flags, unix.NFTA_FIB_FLAGS)
	for rest := exprs; ; {
		_, after, found := bytes.Cut(rest, flags)
		if !found || len(after) < 4 {
			return false
		}
		if f := binary.BigEndian.Uint32(after); f&fibSource != 0 && f&fibDevice != 0 {
			return true
		}
		rest = after
	}
}
