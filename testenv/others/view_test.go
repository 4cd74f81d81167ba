package others

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"swerve/testenv/netns"
	"swerve/testenv/programs"
	"swerve/testenv/wait"
)

// view is a place where the programs run, for a test: it ends with it.
type view struct {
	*programs.Place
	t *testing.T
}

// newView makes a place in a namespace; without programs it ends the test.
func newView(t *testing.T, ns *netns.NS) *view {
	t.Helper()
	if *folder == "" {
		t.Fatal("without -others.programs")
	}
	place, err := programs.Open(ns, *folder)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		place.Close()
		if said := place.Said(); t.Failed() && said != "" {
			t.Logf("the programs' place wrote:\n%s", said)
		}
	})
	return &view{place, t}
}

// sh runs a script, and ends the test where it fails.
func (v *view) sh(script string) string {
	v.t.Helper()
	out, err := v.Run(script)
	if err != nil {
		v.t.Fatalf("%s\n%v\n%s", script, err, out)
	}
	return out
}

// write writes a file in the place, whose folder it makes.
func (v *view) write(path, text string) {
	v.t.Helper()
	if err := v.Write(path, text); err != nil {
		v.t.Fatal(err)
	}
}

// program runs in a place.
type program struct {
	v    *view
	name string
	cmd  *exec.Cmd
	done chan struct{}
	mu   sync.Mutex
	said strings.Builder
}

func (p *program) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.said.Len() < 1<<20 {
		p.said.Write(b)
	}
	return len(b), nil
}

// log is what it wrote so far.
func (p *program) log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.said.String()
}

// start starts a program that stays in the foreground. If the test fails, its log has
// what it wrote.
func (v *view) start(name, line string) *program {
	v.t.Helper()
	p := &program{v: v, name: name, done: make(chan struct{})}
	p.cmd = v.Command(fmt.Sprintf("echo $$ >/run/%s.process; exec %s", name, line))
	p.cmd.Stdout, p.cmd.Stderr = p, p
	p.cmd.WaitDelay = time.Second
	if err := v.Start(p.cmd); err != nil {
		v.t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.done)
	}()
	v.t.Cleanup(func() {
		if v.t.Failed() {
			log := p.log()
			v.t.Logf("%s wrote:\n%s", name, log[max(0, len(log)-6000):])
		}
	})
	return p
}

// signal sends it a signal, by kill(1)'s name.
func (p *program) signal(name string) {
	p.v.t.Helper()
	p.v.sh(fmt.Sprintf("kill -%s $(cat /run/%s.process)", name, p.name))
}

// stop asks it to end, and waits until it has.
func (p *program) stop() {
	p.v.t.Helper()
	p.signal("TERM")
	ctx, cancel := context.WithTimeout(context.Background(), wait.Patience)
	defer cancel()
	select {
	case <-p.done:
	case <-ctx.Done():
		p.v.t.Fatalf("%s does not end:\n%s", p.name, p.log())
	}
}
