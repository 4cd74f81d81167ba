package failover

import "time"

// When everything was silent and one uplink answers again, the others may be
// about to: what failed at once comes back at about the same time. Before
// traffic leaves a silent uplink for one that has just come, the silent one is
// given a last call: a probe sent after the other's first answer must be late.

// lastCall is how long an uplink that has just come waits for the others at
// most, should they not even be able to send.
const lastCall = time.Second

// came notes that a path begins to answer, and hurries the silent ones.
func (e *Engine) came(p *path) {
	p.cameAt = e.now
	for _, u := range e.uplinks {
		o := &u.paths[p.family]
		if o != p && o.state == Down && o.probing && o.fastUntil < e.now+lastCall {
			o.fastUntil = e.now + lastCall
			o.fastNext = e.now
			o.touched = true
		}
	}
}

// stillSilent reports whether a silent path had its last call since another
// one came; if not, the selection is due again when it has.
func (e *Engine) stillSilent(c *choice, p, other *path) bool {
	switch {
	case p.cut(), len(p.targets) == 0, p.lateSent >= other.cameAt, e.now >= other.cameAt+lastCall:
		return true
	}
	e.awaitProof = true
	c.due = min(c.due, other.cameAt+lastCall)
	return false
}
