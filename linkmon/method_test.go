package linkmon

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"strconv"
	"syscall"
	"testing"
	"time"

	"swerve/failover"
	"swerve/target"
)

// TestAllMethodsAreBuilt compares the table of methods with those that targets may have.
func TestAllMethodsAreBuilt(t *testing.T) {
	table := newMethods(clockFrom(time.Now()), nil)
	all := targetMethods(t)
	known := map[target.Method]bool{}
	for _, m := range all {
		known[m] = true
		if table[m] == nil {
			t.Errorf("%s is not in the table", m)
		}
	}
	if !known[target.ICMP] || !known[target.DNS] {
		t.Errorf("methods found in the source: %v", all)
	}
	for m := range table {
		if !known[m] {
			t.Errorf("%q is in the table, but is no method of package target", m)
		}
	}
}

// targetMethods reads the constants of type target.Method from the source.
func targetMethods(t *testing.T) (all []target.Method) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../target/target.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if name, ok := spec.Type.(*ast.Ident); ok && name.Name == "Method" {
			text, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, target.Method(text))
		}
		return true
	})
	return all
}

// A method receives the parsed target, and may report a fault in place of an answer, once.
// Without a method, as of a target that a reload has removed, the probe is not sent.
func TestAnotherMethod(t *testing.T) {
	clock := func() failover.Instant { return 7 }
	failing := func(_ context.Context, r request, report func(outcome)) {
		if r.to != addr("192.0.2.9") || r.target.Port != 443 {
			report(outcome{kind: probeRefused, at: clock(), cause: fmt.Errorf("asked for %+v", r)})
			return
		}
		report(outcome{kind: probeFailed, at: 2, fault: failover.Fault{Cause: "before it is sent"}})
		report(outcome{kind: probeSent, at: 3})
		report(outcome{kind: probeFailed, at: 5, fault: failover.Fault{Cause: "a portal", Portal: true}})
		report(outcome{kind: probeFailed, at: 6, fault: failover.Fault{Cause: "again"}})
		report(outcome{kind: probeAnswered, at: 7, by: r.to})
	}
	out := newOutbox()
	p := newProber(clock, out, notOwn, map[target.Method]method{target.TCP: failing})
	p.send(failover.Probe{ID: 1}, pathBy(0).to("tcp://192.0.2.9:443"))
	p.send(failover.Probe{ID: 2}, pathBy(0))
	p.done.Wait()
	p.close()
	want := []string{
		"3ns failover.ProbeSent {1}", "5ns failover.ProbeFailed {1 {a portal true}}",
		"7ns failover.ProbeNotSent {2 it is no target any more }",
	}
	if got := observed(out.take()); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// An error that is worded for people still unwraps to the kernel's errno.
func TestRefusalsKeepTheErrno(t *testing.T) {
	r, err := newRequest(failover.IPv4, pathBy(0).to("192.0.2.1"))
	if err != nil {
		t.Fatal(err)
	}
	for errno, words := range map[syscall.Errno]string{
		syscall.EADDRNOTAVAIL: "the address 10.0.0.2 is gone: cannot assign requested address",
		syscall.ENODEV:        "the interface w0 is gone: no such device",
		syscall.ENXIO:         "the interface w0 is gone: no such device or address",
		syscall.EPERM:         "send to 192.0.2.1: operation not permitted",
	} {
		err := sendError(fmt.Errorf("pro-bing: %w", errno), r)
		if got, ok := errors.AsType[syscall.Errno](err); !ok || got != errno || err.Error() != words {
			t.Errorf("%v: %v, with errno %v (%v)", errno, err, got, ok)
		}
	}
	if plain := errors.New("pro-bing: other"); sendError(plain, r) != plain || sendError(nil, r) != nil {
		t.Error("an error without an errno is changed")
	}
}
