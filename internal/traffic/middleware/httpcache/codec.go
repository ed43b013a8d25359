package httpcache

import (
	"encoding/binary"
	"hash/crc32"
	"time"

	"sluice/internal/wire/httpmsg"
)

// castagnoli is the checksum of records, of which processors have an instruction.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Flags of a record.
const (
	flagRevalidate = 1 << iota
	flagAlways
	flagShared
)

// encode returns the record of e under a key: checksum, key, then what follows below, in this order. It is for decode of
// the same process only, and so has no version.
func (e *entry) encode(k key) []byte {
	b := make([]byte, 4, e.size())
	b = append(b, k[:]...)
	var flags uint64
	for i, on := range []bool{e.policy.revalidate, e.policy.always, e.policy.shared} {
		if on {
			flags |= 1 << i
		}
	}
	for _, n := range []uint64{uint64(e.status), flags, uint64(e.came.UnixNano()), uint64(e.initialAge), uint64(e.policy.lifetime),
		uint64(e.policy.staleWhileRevalidate), uint64(e.policy.staleIfError), uint64(e.header.Len())} {
		b = binary.AppendUvarint(b, n)
	}
	for i := range e.header.Len() {
		f := e.header.At(i)
		for _, v := range [...][]byte{f.Name, f.Value} {
			b = binary.AppendUvarint(b, uint64(len(v)))
			b = append(b, v...)
		}
	}
	b = append(b, e.body...)
	binary.BigEndian.PutUint32(b, crc32.Checksum(b[4:], castagnoli))
	return b
}

// decode reads a record. It returns nil for what is not the record of k. The entry looks at b.
func decode(k key, b []byte) *entry {
	if len(b) < 4+len(k) || binary.BigEndian.Uint32(b) != crc32.Checksum(b[4:], castagnoli) || key(b[4:4+len(k)]) != k {
		return nil
	}
	return decodeEntry(b[4+len(k):])
}

func decodeEntry(b []byte) *entry {
	var n [8]uint64
	for i := range n {
		var size int
		if n[i], size = binary.Uvarint(b); size <= 0 {
			return nil
		}
		b = b[size:]
	}
	e := &entry{status: int(n[0]), came: time.Unix(0, int64(n[2])), initialAge: time.Duration(n[3])}
	e.policy = policy{lifetime: time.Duration(n[4]), staleWhileRevalidate: time.Duration(n[5]), staleIfError: time.Duration(n[6]),
		revalidate: n[1]&flagRevalidate != 0, always: n[1]&flagAlways != 0, shared: n[1]&flagShared != 0}
	cut := func() (v httpmsg.View, ok bool) {
		length, size := binary.Uvarint(b)
		if size <= 0 || length > uint64(len(b)-size) {
			return nil, false
		}
		v, b = b[size:size+int(length):size+int(length)], b[size+int(length):]
		return v, true
	}
	for range n[7] {
		name, ok := cut()
		if !ok {
			return nil
		}
		value, ok := cut()
		if !ok {
			return nil
		}
		e.header.Append(httpmsg.Field{ID: httpmsg.IDOfView(name), Name: name, Value: value})
	}
	e.body = b
	e.index()
	return e
}
