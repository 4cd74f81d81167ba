package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"swerve/testenv/lab"
	"swerve/testenv/netns"
	"swerve/testenv/wait"
)

const forwardGroup = "forwarding, beside conntrack with one masquerade rule"

// The duration of each measurement of a pair.
const (
	bulkSpan  = 2 * time.Second
	floodSpan = time.Second
)

// forward compares the forwarding rate of a gateway under Swerve with that of one
// masquerade rule, in pairs whose order alternates.
func (m *measurer) forward(ctx context.Context) error {
	swerve, peer, err := m.roads(ctx)
	if err != nil {
		return err
	}
	defer swerve.close()
	defer peer.close()
	bulk := &Figure{Group: forwardGroup, What: "bulk TCP", Unit: "×", Floor: medianAtLeast(0.97)}
	small := &Figure{Group: forwardGroup, What: "64-byte packets", Unit: "×", Floor: medianAtLeast(0.85)}
	bits := &Figure{Group: forwardGroup, What: "bulk TCP by Swerve", Unit: "Gbit/s"}
	packets := &Figure{Group: forwardGroup, What: "64-byte packets by Swerve", Unit: "packets/s"}
	for i := range max(4, m.runs/5) {
		for _, kind := range []struct {
			measure       func(context.Context, *road) (float64, error)
			ratio, amount *Figure
			unit          float64
		}{{bulkRateOf, bulk, bits, 1e9}, {floodRateOf, small, packets, 1}} {
			ours, theirs, err := pair(ctx, kind.measure, swerve, peer, i%2 == 1)
			if err != nil {
				return err
			}
			kind.ratio.add(ours / theirs)
			kind.amount.add(ours / kind.unit)
		}
		m.progress("%s: %d", forwardGroup, i+1)
	}
	m.report.add(bulk, small, bits, packets)
	return nil
}

func (m *measurer) roads(ctx context.Context) (swerve, peer *road, err error) {
	if swerve, err = newRoad(2); err != nil {
		return nil, nil, err
	}
	if err = swerve.bySwerve(ctx, m.binary, ""); err == nil {
		peer, err = newRoad(2)
	}
	if err != nil {
		swerve.close()
		return nil, nil, err
	}
	if err = peer.byRule(); err != nil {
		swerve.close()
		peer.close()
		return nil, nil, err
	}
	return swerve, peer, nil
}

// pair measures two roads one after the other.
func pair(ctx context.Context, measure func(context.Context, *road) (float64, error), a, b *road, turned bool) (ofA, ofB float64, err error) {
	if turned {
		ofB, ofA, err = pair(ctx, measure, b, a, false)
		return ofA, ofB, err
	}
	if ofA, err = measure(ctx, a); err == nil {
		ofB, err = measure(ctx, b)
	}
	return ofA, ofB, err
}

// bulkRateOf returns iperf3's throughput, in bits a second.
func bulkRateOf(ctx context.Context, r *road) (float64, error) {
	server := r.server.Command("iperf3", "-s", "-1", "-B", lab.Server4.String())
	if err := r.server.Start(server); err != nil {
		return 0, err
	}
	defer end(server)
	listens := func() bool {
		out, err := r.server.Run("ss", "-Hltn", "sport", "=", ":5201")
		return err == nil && out != ""
	}
	if err := wait.Until(ctx, "iperf3 to listen", listens); err != nil {
		return 0, err
	}
	return iperf(r.client)
}

// iperf runs a client and parses what its server received.
func iperf(client *netns.NS) (float64, error) {
	out, err := client.Run("iperf3", "-c", lab.Server4.String(), "-t", strconv.Itoa(int(bulkSpan/time.Second)), "-J")
	if err != nil {
		return 0, err
	}
	var report struct {
		End struct {
			Received struct {
				BitsPerSecond float64 `json:"bits_per_second"`
			} `json:"sum_received"`
		} `json:"end"`
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		return 0, fmt.Errorf("parse the output of iperf3: %w", err)
	}
	if report.End.Received.BitsPerSecond <= 0 {
		return 0, fmt.Errorf("iperf3 transferred nothing: %s", out)
	}
	return report.End.Received.BitsPerSecond, nil
}

// floodPort is the destination of the flood. Nobody reads it there: the kernel drops
// what does not fit, which costs almost nothing and sends no answer.
const floodPort = 9

// floodRateOf returns how many of the smallest packets arrive a second, of as many as one
// processor sends: 18 bytes of payload make frames of 64 bytes including their checksum.
func floodRateOf(_ context.Context, r *road) (float64, error) {
	sink, err := r.server.ListenPacket("udp4", netip.AddrPortFrom(lab.Server4, floodPort).String())
	if err != nil {
		return 0, err
	}
	defer sink.Close()
	conn, err := r.client.DialUDP(netip.AddrPortFrom(lab.Server4, floodPort))
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	if err := establish(conn, sink); err != nil {
		return 0, err
	}
	before, err := arrived(r)
	if err != nil {
		return 0, err
	}
	took, err := flood(conn, floodSpan)
	if err != nil {
		return 0, err
	}
	after, err := arrived(r)
	return float64(after-before) / took.Seconds(), err
}

// establish sends one packet each way, so that the flow counts as answered.
func establish(conn net.Conn, sink net.PacketConn) error {
	limit := time.Now().Add(wait.Patience)
	buf := make([]byte, 18)
	if err := errors.Join(conn.SetDeadline(limit), sink.SetDeadline(limit)); err != nil {
		return err
	}
	if _, err := conn.Write(buf); err != nil {
		return err
	}
	_, from, err := sink.ReadFrom(buf)
	if err == nil {
		_, err = sink.WriteTo(buf, from)
	}
	if err == nil {
		_, err = conn.Read(buf)
	}
	return err
}

// flood sends in batches, on the first processor, for span.
func flood(conn *net.UDPConn, span time.Duration) (took time.Duration, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer bindTo(0)()
	batch := make([]ipv4.Message, 64)
	for i := range batch {
		batch[i].Buffers = [][]byte{make([]byte, 18)}
	}
	packets := ipv4.NewPacketConn(conn)
	for begin := time.Now(); ; {
		if _, err := packets.WriteBatch(batch, 0); err != nil {
			return 0, fmt.Errorf("flood: %w", err)
		}
		if took = time.Since(begin); took >= span {
			return took, nil
		}
	}
}

// bindTo keeps the calling thread on a processor until the returned function is called.
func bindTo(cpu int) (release func()) {
	var before, one unix.CPUSet
	if unix.SchedGetaffinity(0, &before) != nil {
		return func() {}
	}
	one.Set(cpu)
	if unix.SchedSetaffinity(0, &one) != nil {
		return func() {}
	}
	return func() { _ = unix.SchedSetaffinity(0, &before) } // cannot fail: it was the affinity before
}

// arrived returns how many packets the server has received from all uplinks.
func arrived(r *road) (n uint64, err error) {
	for i := range r.uplinks {
		link, err := r.server.Netlink().LinkByName(fmt.Sprintf("isp%d", i))
		if err != nil {
			return 0, err
		}
		n += link.Attrs().Statistics.RxPackets
	}
	return n, nil
}
