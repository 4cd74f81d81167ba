package linkmon

import (
	"net/netip"
	"runtime"
	"sync"
	"testing"
)

// To a link-local gateway the kernel chooses: an address borrowed from another device may
// be of another uplink's prefix, which this gateway does not answer.
func TestSourceToALinkLocalGateway(t *testing.T) {
	c := &chooser{}
	r := request{to: netip.MustParseAddr("fe80::1%wan1"), index: 3, source: netip.MustParseAddr("2001:db8:1:50::1")}
	if !c.fits(r) {
		t.Error("the source is borrowed")
	}
	if r.index = 0; c.fits(r) {
		t.Error("without a device the source is left to the kernel")
	}
}

// Probes ask before they are sent, and stay for seconds: what asking needs must not stay
// with each of them.
func TestAskingLeavesNoStackBehind(t *testing.T) {
	c, err := openChooser()
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	const probes, each = 200, 32 << 10
	var before, during runtime.MemStats
	runtime.ReadMemStats(&before)
	var asked, ended sync.WaitGroup
	release := make(chan struct{})
	asked.Add(probes)
	for range probes {
		ended.Go(func() {
			c.fits(request{to: netip.MustParseAddr("2001:db8::9"), index: 1})
			asked.Done()
			<-release
		})
	}
	asked.Wait()
	runtime.ReadMemStats(&during)
	close(release)
	ended.Wait()
	if grown := int64(during.StackInuse) - int64(before.StackInuse); grown > probes*each {
		t.Errorf("%d goroutines that have asked hold %d KiB of stack", probes, grown>>10)
	}
}
