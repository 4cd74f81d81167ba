package system

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"swerve/control"
	"swerve/testenv/lab"
)

// Nobody reads the daemon's standard error, or its other end was closed: failover
// goes on, and a problem says so.
func TestLogThatTakesNothing(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]string{
		"nobody reads": `mkfifo "$0"; exec 2<>"$0"; head -c 65536 /dev/zero >&2; exec "$@"`,
		"closed":       `mkfifo "$0"; exec 3<>"$0"; exec 2>"$0" 3>&-; exec "$@"`,
	} {
		t.Run(name, func(t *testing.T) {
			scenario(t, func(t *trial) {
				g := newGateway(t, usual, quickRecovery, "sh", "-ec", open, "{dir}/log")
				g.Start()
				g.Await("the first uplink to carry, and all to be up", lab.Settled)
				// Each refusal is over 20 lines, each of its own kind, so that they are not
				// folded: together more than the queue has room for.
				for n := range 150 {
					g.Configure(quickRecovery + manyMistakes(30*n, 30))
					if _, stderr, code := g.swerve("reload"); code == 0 || !strings.Contains(stderr, "nobody") {
						t.Fatalf("reload of a bad file: exit code %d\n%.300s", code, stderr)
					}
				}
				g.Await("the problem log-dropped", func(s *control.Status) bool {
					return slices.ContainsFunc(s.Problems, func(p control.Problem) bool { return p.Code == "log-dropped" })
				})
				p := g.clients(fiber)
				f := g.Break(fiber, "black-hole")
				g.leaves("black-hole", p, f.Onset)
				g.comesBack(f, p)
			})
		})
	}
}

// manyMistakes are n rules for policies that do not exist, each named by letters that
// tell it from those of another first.
func manyMistakes(first, n int) string {
	var b strings.Builder
	b.WriteString("rules:\n")
	for i := first; i < first+n; i++ {
		name := []byte{'a' + byte(i/676%26), 'a' + byte(i/26%26), 'a' + byte(i%26)}
		fmt.Fprintf(&b, "  - {to: 10.0.%d.%d, use: nobody-%s}\n", i/256, i%256, name)
	}
	return b.String()
}
