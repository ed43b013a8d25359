package recent

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sluice/internal/core/fault"
	"sluice/internal/observe/record"
)

func failed(router string, i int) *record.Record {
	return &record.Record{Router: router, Method: "GET", Path: fmt.Sprint("/", i), Start: time.Unix(int64(i), 0), Status: 503,
		Fault: fault.New(fault.NoServer, "no server is up", nil)}
}

func TestFailures(t *testing.T) {
	f := &Failures{}
	f.Record(&record.Record{Router: "fine", Status: 200, OriginStatus: 200})
	f.Record(&record.Record{Router: "missing", Status: 404, Fault: fault.New(fault.NoRouter, "no", nil)})
	f.Record(&record.Record{Router: "gone", Status: 499, Fault: fault.New(fault.ClientGone, "left", nil)})
	if all := f.All(10); len(all) != 0 {
		t.Errorf("these are no failures: %+v", all)
	}
	for i := range 50 {
		f.Record(failed("a", i))
	}
	f.Record(&record.Record{Router: "b", Status: 200, OriginStatus: 500, Host: strings.Repeat("x", 10_000), Start: time.Unix(1000, 0)})
	f.Record(&record.Record{Router: "vm", SNI: "vm.test", Start: time.Unix(2000, 0), Fault: fault.New(fault.DialFailed, "refused", nil), Phase: record.Connecting})
	if a := f.Of("a"); len(a) != perRouter || a[0].Path != "/49" || a[0].Code != "NO-SERVER" || a[0].Side != "upstream" {
		t.Errorf("of a: %+v", a)
	}
	if all := f.All(2); len(all) != 2 || all[0].Router != "vm" || all[1].Router != "b" || len(all[1].Host) != maxText || all[1].Code != "" || all[0].Phase != "connecting" {
		t.Errorf("all: %+v", all)
	}
	f.Retain(func(router string) bool { return router == "b" })
	if len(f.Of("a")) != 0 || len(f.Of("b")) != 1 {
		t.Error("what has gone stays")
	}
	for i := range maxRouters + 10 {
		f.Record(failed(fmt.Sprint("r", i), i+5000))
	}
	if len(f.routers) != maxRouters || f.Of("r0") != nil || f.Of("b") != nil || f.Of(fmt.Sprint("r", maxRouters+9)) == nil {
		t.Errorf("%d routers remembered", len(f.routers))
	}
}

func TestEvents(t *testing.T) {
	e := &Events{}
	first, changed := e.Since(0)
	if len(first) != 0 {
		t.Error(first)
	}
	e.Add("configuration", "one")
	<-changed
	for i := range maxEvents + 5 {
		e.Add("server", fmt.Sprint(i))
	}
	all, _ := e.Since(0)
	if len(all) != maxEvents || all[0].Number != 7 || all[len(all)-1].Text != fmt.Sprint(maxEvents+4) {
		t.Errorf("%d events, from %d", len(all), all[0].Number)
	}
	if rest, _ := e.Since(all[len(all)-2].Number); len(rest) != 1 {
		t.Errorf("the rest: %v", rest)
	}
	if rest, _ := e.Since(100_000); len(rest) != maxEvents {
		t.Errorf("after a restart: %d events", len(rest))
	}
}
