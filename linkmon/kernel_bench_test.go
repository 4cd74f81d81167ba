package linkmon

import (
	"fmt"
	"testing"

	"swerve/testenv/netns"
)

func BenchmarkRead(b *testing.B) {
	for _, n := range []int{2, 100} {
		b.Run(fmt.Sprintf("links=%d", 2*n), func(b *testing.B) {
			ns := netns.New(b)
			for i := range n {
				if err := netns.Veth(ns, fmt.Sprintf("a%d", i), ns, fmt.Sprintf("b%d", i)); err != nil {
					b.Fatal(err)
				}
			}
			var k *kernel
			if err := ns.Do(func() (err error) { k, err = openKernel(); return err }); err != nil {
				b.Fatal(err)
			}
			defer k.close()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := k.read(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
