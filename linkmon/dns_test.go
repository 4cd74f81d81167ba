package linkmon

import (
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"swerve/target"
)

// nameServer answers each query with the messages that answer returns, until the test's
// end.
func nameServer(t *testing.T, at string, answer func(query dnsmessage.Message) [][]byte) net.Addr {
	t.Helper()
	conn, err := net.ListenPacket("udp", at)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 4096)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			var query dnsmessage.Message
			if err := query.Unpack(buf[:n]); err != nil {
				t.Errorf("query %x: %v", buf[:n], err)
			}
			for _, b := range answer(query) {
				conn.WriteTo(b, from)
			}
		}
	}()
	t.Cleanup(func() {
		conn.Close()
		<-done
	})
	return conn.LocalAddr()
}

// answerTo is an answer to a query, changed.
func answerTo(t *testing.T, query dnsmessage.Message, change func(*dnsmessage.Message)) []byte {
	t.Helper()
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: query.ID, Response: true}, Questions: query.Questions}
	if change != nil {
		change(&m)
	}
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestDNSProbe(t *testing.T) {
	code := func(c dnsmessage.RCode) func(*dnsmessage.Message) {
		return func(m *dnsmessage.Message) { m.RCode = c }
	}
	type answers func(t *testing.T, q dnsmessage.Message) [][]byte
	one := func(change func(*dnsmessage.Message)) answers {
		return func(t *testing.T, q dnsmessage.Message) [][]byte { return [][]byte{answerTo(t, q, change)} }
	}
	before := func(b ...[]byte) answers { // and then the answer
		return func(t *testing.T, q dnsmessage.Message) [][]byte { return append(b, answerTo(t, q, nil)) }
	}
	const lost = "sent"
	for _, c := range []struct {
		name    string
		answers answers
		want    string
	}{
		{"an address", one(func(m *dnsmessage.Message) {
			m.Answers = []dnsmessage.Resource{{
				Header: dnsmessage.ResourceHeader{Name: m.Questions[0].Name, Class: dnsmessage.ClassINET}, Body: &dnsmessage.AResource{A: [4]byte{192, 0, 2, 1}},
			}}
		}), "sent, answered"},
		{"nothing of that type", one(nil), "sent, answered"},
		{"no such name", one(code(dnsmessage.RCodeNameError)), "sent, answered"},
		{"truncated", one(func(m *dnsmessage.Message) { m.Truncated = true }), "sent, answered"},
		{"another case", one(func(m *dnsmessage.Message) { m.Questions[0].Name = dnsmessage.MustNewName("WWW.Example.ORG.") }), "sent, answered"},
		{"strays before it", before(nil, []byte("x"), make([]byte, 3000), []byte(strings.Repeat("\xff", 60))), "sent, answered"},
		{"SERVFAIL", one(code(dnsmessage.RCodeServerFailure)), "sent, failed: the name server answers SERVFAIL"},
		{"REFUSED", one(code(dnsmessage.RCodeRefused)), "sent, failed: the name server answers REFUSED"},
		{"REFUSED without the question", one(func(m *dnsmessage.Message) { m.RCode, m.Questions = dnsmessage.RCodeRefused, nil }), "sent, failed: the name server answers REFUSED"},
		{"code 11", one(code(11)), "sent, failed: the name server answers code 11"},
		{"no question", one(func(m *dnsmessage.Message) { m.Questions = nil }), lost},
		{"two questions", one(func(m *dnsmessage.Message) { m.Questions = append(m.Questions, m.Questions[0]) }), lost},
		{"another question", one(func(m *dnsmessage.Message) { m.Questions[0].Name = dnsmessage.MustNewName("www.example.com.") }), lost},
		{"another type", one(func(m *dnsmessage.Message) { m.Questions[0].Type = dnsmessage.TypeAAAA }), lost},
		{"another number", one(func(m *dnsmessage.Message) { m.ID++ }), lost},
		{"a query", one(func(m *dnsmessage.Message) { m.Response = false }), lost},
		{"cut", func(t *testing.T, q dnsmessage.Message) [][]byte {
			b := answerTo(t, q, nil)
			b[7] = 1 // says that there is an answer
			return [][]byte{b}
		}, lost},
		{"too many strays", func(*testing.T, dnsmessage.Message) (out [][]byte) {
			for range maxStrays {
				out = append(out, []byte("x"))
			}
			return out
		}, "sent, failed: 64 messages that are no answer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, host := range []string{"127.0.0.1:0", "[::1]:0"} {
				at := nameServer(t, host, func(q dnsmessage.Message) [][]byte {
					if len(q.Questions) != 1 || q.Questions[0].Name.String() != "www.example.org." || q.Questions[0].Type != dnsmessage.TypeA || !q.RecursionDesired {
						t.Errorf("asked %+v", q)
					}
					return c.answers(t, q)
				})
				r := localRequest(target.DNS, at, "www.example.org")
				if c.want == lost {
					r.wait = 100 * time.Millisecond
				}
				files := openFiles(t)
				if got := outcomesOf(t, dns{localOpener()}.probe, r); got != c.want {
					t.Errorf("%s: %s, want %s", host, got, c.want)
				}
				leaksNothing(t, files)
			}
		})
	}
}

// An answer from another address or port does not reach the probe.
func TestDNSAnswersOfOthers(t *testing.T) {
	other, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	over := make(chan struct{})
	go func() {
		defer close(over)
		buf := make([]byte, 512)
		n, from, err := server.ReadFrom(buf)
		var q dnsmessage.Message
		if err != nil || q.Unpack(buf[:n]) != nil {
			return
		}
		other.WriteTo(answerTo(t, q, nil), from)
	}()
	r := localRequest(target.DNS, server.LocalAddr(), "www.example.org")
	r.wait = 300 * time.Millisecond
	if got := outcomesOf(t, dns{localOpener()}.probe, r); got != "sent" {
		t.Errorf("answered by another port: %s", got)
	}
	<-over
}

// Nobody listens: the machine says so by ICMP, which is no answer.
func TestDNSPortUnreachable(t *testing.T) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	got := outcomesOf(t, dns{localOpener()}.probe, localRequest(target.DNS, conn.LocalAddr(), "www.example.org"))
	if got != "sent, failed: port unreachable, as a host, router or packet filter says" {
		t.Error(got)
	}
}

// The root is asked for its SOA record, and each query has another number.
func TestQuestions(t *testing.T) {
	numbers := map[uint16]bool{}
	for range 50 {
		q, id := newQuestion(".")
		numbers[id] = true
		if q.Type != dnsmessage.TypeSOA || q.Name.String() != "." {
			t.Fatalf("%+v", q)
		}
	}
	if len(numbers) < 45 {
		t.Errorf("%d different numbers of 50", len(numbers))
	}
	if q, _ := newQuestion("a.b."); q.Name.String() != "a.b." || q.Type != dnsmessage.TypeA {
		t.Errorf("%+v", q)
	}
	for _, name := range []string{strings.Repeat("a", 64) + ".org", strings.Repeat("a.", 200)} {
		q, id := newQuestion(name)
		if b, err := q.message(id); err == nil && len(b) > 12+255+4 {
			t.Errorf("a name that is too long: %x", b)
		}
	}
	longest := strings.Repeat("abcdefg.", 31) + "abcde"
	for _, name := range []string{"a", "www.example.org", "www.example.org.", ".", longest} {
		q, id := newQuestion(name)
		b, err := q.message(id)
		var m dnsmessage.Message
		if err == nil {
			err = m.Unpack(b)
		}
		if err != nil || m.ID != id || !m.RecursionDesired || m.Response || len(m.Questions) != 1 || m.Questions[0] != q.Question {
			t.Errorf("%s: %x is %+v, %v", name, b, m, err)
		}
	}
}

// FuzzAnswer reads what may come in place of an answer.
func FuzzAnswer(f *testing.F) {
	q, _ := newQuestion("www.example.org")
	query, err := q.message(7)
	if err != nil {
		f.Fatal(err)
	}
	yes := append([]byte{}, query...)
	yes[2] |= 0x80
	for _, seed := range [][]byte{nil, query, yes, yes[:20], append(append([]byte{}, yes...), 0xc0, 0x0c, 0, 1)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if q.answer(b, 7) != nil {
			return
		}
		var p dnsmessage.Parser
		h, err := p.Start(b)
		if err != nil || h.ID != 7 || !h.Response || h.RCode != dnsmessage.RCodeSuccess && h.RCode != dnsmessage.RCodeNameError {
			t.Errorf("%x counts as an answer: %+v, %v", b, h, err)
		}
		if got, err := p.Question(); err != nil || !strings.EqualFold(got.Name.String(), "www.example.org.") {
			t.Errorf("%x: %+v, %v", b, got, err)
		}
	})
}
