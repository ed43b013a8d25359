package storage

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// stateKey is the member of a resolver's object that is ours. Traefik skips what it does not know.
const stateKey = "Sluice"

// object is a JSON object whose members keep their order and whose values stay as they were written.
type object []member

type member struct {
	key   string
	value json.RawMessage
}

// parseObject reads an object; null and nothing are empty ones.
func parseObject(data []byte) (object, error) {
	data = bytes.TrimSpace(data)
	if len(data) == 0 || string(data) == "null" {
		return nil, nil
	}
	d := json.NewDecoder(bytes.NewReader(data))
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	if t != json.Delim('{') {
		return nil, errors.New("it is not a JSON object")
	}
	var o object
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		key, ok := t.(string)
		if !ok {
			return nil, errors.New("a key is not a text")
		}
		var m member
		m.key = key
		if err := d.Decode(&m.value); err != nil {
			return nil, err
		}
		o = append(o, m)
	}
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something stands behind its end")
	}
	return o, nil
}

// at returns the position of a key, -1 without one. Of several the last one counts, as encoding/json has it.
func (o object) at(key string) int {
	for i := len(o) - 1; i >= 0; i-- {
		if o[i].key == key {
			return i
		}
	}
	return -1
}

func (o object) get(key string) json.RawMessage {
	if i := o.at(key); i >= 0 {
		return o[i].value
	}
	return nil
}

// field returns a member whose key may be written in any case, as encoding/json reads the fields of a struct.
func (o object) field(key string) json.RawMessage { return o.get(o.spelling(key)) }

// spelling is how a key is written here.
func (o object) spelling(key string) string {
	if o.at(key) >= 0 {
		return key
	}
	for _, m := range o {
		if strings.EqualFold(m.key, key) {
			return m.key
		}
	}
	return key
}

// set replaces a member in its place, or appends it.
func (o *object) set(key string, value json.RawMessage) {
	if i := o.at(key); i >= 0 {
		(*o)[i].value = value
		return
	}
	*o = append(*o, member{key, value})
}

// MarshalJSON implements json.Marshaler.
func (o object) MarshalJSON() ([]byte, error) {
	if o == nil {
		return []byte("{}"), nil
	}
	var b bytes.Buffer
	b.WriteByte('{')
	for i, m := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		key, err := json.Marshal(m.key)
		if err != nil {
			return nil, err
		}
		b.Write(key)
		b.WriteByte(':')
		b.Write(m.value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// accountJSON and certificateJSON are the shapes in acme.json. Keys are read in any case, as Traefik reads them.
type accountJSON struct {
	Email        string
	Registration *registrationJSON
	PrivateKey   []byte
}

type registrationJSON struct {
	Body struct {
		Status  string   `json:"status,omitempty"`
		Contact []string `json:"contact,omitempty"`
		Orders  string   `json:"orders,omitempty"`
	} `json:"body,omitzero"`
	URI string `json:"uri,omitempty"`
}

type certificateJSON struct {
	Domain struct {
		Main string   `json:"main,omitempty"`
		SANs []string `json:"sans,omitempty"`
	} `json:"domain,omitzero"`
	Certificate []byte `json:"certificate"`
	Key         []byte `json:"key"`
	Store       string
}

// stateJSON is what stands under stateKey.
type stateJSON struct {
	Accounts map[string]json.RawMessage `json:"accounts,omitempty"` // former ones, in the shape of Account
	Sets     map[string]*Set            `json:"sets,omitempty"`
	Spent    Spent                      `json:"spent,omitzero"`
}

func (a *accountJSON) account() *Account {
	out := &Account{Email: a.Email, Key: a.PrivateKey}
	if r := a.Registration; r != nil {
		out.URI, out.Status, out.Contact, out.Orders = r.URI, r.Body.Status, r.Body.Contact, r.Body.Orders
	}
	return out
}

// merge writes an account into raw, which keeps what we do not know of.
func (a *Account) merge(raw json.RawMessage) (json.RawMessage, error) {
	o, err := parseObject(raw)
	if err != nil {
		return nil, err
	}
	var r json.RawMessage = []byte("null")
	if a.URI != "" {
		var reg registrationJSON
		reg.Body.Status, reg.Body.Contact, reg.Body.Orders, reg.URI = a.Status, a.Contact, a.Orders, a.URI
		if r, err = json.Marshal(reg); err != nil {
			return nil, err
		}
	}
	for _, m := range []struct {
		key   string
		value any
	}{{"Email", a.Email}, {"Registration", r}, {"PrivateKey", a.Key}} {
		v, err := json.Marshal(m.value)
		if err != nil {
			return nil, err
		}
		o.set(o.spelling(m.key), v)
	}
	return o.MarshalJSON()
}

func (c *certificateJSON) certificate() *Certificate {
	return &Certificate{Main: c.Domain.Main, SANs: c.Domain.SANs, Chain: c.Certificate, Key: c.Key, Store: c.Store}
}

func (c *Certificate) json() certificateJSON {
	var out certificateJSON
	out.Domain.Main, out.Domain.SANs = c.Main, c.SANs
	out.Certificate, out.Key, out.Store = c.Chain, c.Key, c.Store
	if out.Store == "" {
		out.Store = "default"
	}
	return out
}

// usable reports whether the entry holds something; Traefik drops those that do not.
func (c *Certificate) usable() bool { return len(c.Chain) > 0 && len(c.Key) > 0 }

// document is acme.json as it was read, with what was changed since. It is never changed in place: edit returns another.
type document struct{ resolvers object }

func parseDocument(data []byte) (document, error) {
	o, err := parseObject(data)
	if err != nil {
		return document{}, fmt.Errorf("%w: %v", ErrCorrupt, err)
	}
	d := document{o}
	for _, m := range o {
		if _, err := d.load(m.key); err != nil {
			return document{}, err
		}
	}
	return d, nil
}

// section returns the object of a resolver.
func (d document) section(resolver string) (object, error) {
	o, err := parseObject(d.resolvers.get(resolver))
	if err != nil {
		return nil, fmt.Errorf("%w: resolver %s: %v", ErrCorrupt, resolver, err)
	}
	return o, nil
}

// load reads what a resolver has.
func (d document) load(resolver string) (*Content, error) {
	c := emptyContent()
	o, err := d.section(resolver)
	if err != nil {
		return c, err
	}
	bad := func(what string, err error) (*Content, error) {
		return c, fmt.Errorf("%w: resolver %s: %s: %v", ErrCorrupt, resolver, what, err)
	}
	var a *accountJSON
	if raw := o.field("Account"); raw != nil {
		if err := json.Unmarshal(raw, &a); err != nil {
			return bad("Account", err)
		}
	}
	if a != nil {
		c.Account = a.account()
	}
	list, err := certificateList(o)
	if err != nil {
		return bad("Certificates", err)
	}
	for i, raw := range list {
		var entry *certificateJSON
		if err := json.Unmarshal(raw, &entry); err != nil {
			return bad(fmt.Sprintf("Certificates[%d]", i), err)
		}
		if entry != nil && entry.certificate().usable() {
			c.Certificates = append(c.Certificates, entry.certificate())
		}
	}
	var state stateJSON
	if raw := o.field(stateKey); raw != nil {
		if err := json.Unmarshal(raw, &state); err != nil {
			return bad(stateKey, err)
		}
	}
	for id, s := range state.Sets {
		if s != nil {
			c.Sets[id] = s
		}
	}
	for host, raw := range state.Accounts {
		var former *accountJSON
		if json.Unmarshal(raw, &former) == nil && former != nil {
			c.Former[host] = former.account()
		}
	}
	c.Spent = state.Spent
	return c, nil
}

func certificateList(o object) (list []json.RawMessage, err error) {
	if raw := o.field("Certificates"); raw != nil {
		err = json.Unmarshal(raw, &list)
	}
	return list, err
}

// edit returns a document in which change was applied to the object of a resolver; everything else stays as written.
func (d document) edit(resolver string, change func(o *object) error) (document, error) {
	o, err := d.section(resolver)
	if err != nil {
		return d, err
	}
	if o == nil {
		// The shape that Traefik writes, in its order.
		o = object{{"Account", []byte("null")}, {"Certificates", []byte("null")}}
	}
	if err := change(&o); err != nil {
		return d, err
	}
	raw, err := o.MarshalJSON()
	if err != nil {
		return d, err
	}
	out := append(object(nil), d.resolvers...)
	out.set(resolver, raw)
	return document{out}, nil
}

// withAccount, withCertificate, withState and without are the edits.
func (d document) withAccount(resolver string, a *Account) (document, error) {
	content, err := d.load(resolver)
	if err != nil {
		return d, err
	}
	former := content.Account
	d, err = d.edit(resolver, func(o *object) error {
		was := o.field("Account")
		if former != nil && !bytes.Equal(former.Key, a.Key) {
			was = nil // another account: nothing of the old one belongs to it
		}
		raw, err := a.merge(was)
		if err == nil {
			o.set(o.spelling("Account"), raw)
		}
		return err
	})
	if err != nil || former == nil || former.host() == "" || bytes.Equal(former.Key, a.Key) {
		return d, err
	}
	kept, err := former.merge(nil)
	if err != nil {
		return d, err
	}
	return d.withState(resolver, func(s *stateJSON) {
		if s.Accounts == nil {
			s.Accounts = map[string]json.RawMessage{}
		}
		s.Accounts[former.host()] = kept
	})
}

func (d document) withCertificate(resolver string, c *Certificate) (document, error) {
	return d.certificates(resolver, func(list []json.RawMessage) ([]json.RawMessage, error) {
		id := ID(c.Names())
		for i, raw := range list {
			var entry *certificateJSON
			if err := json.Unmarshal(raw, &entry); err != nil {
				return nil, err
			}
			if entry == nil || ID(entry.certificate().Names()) != id {
				continue
			}
			// The names stay in the order in which they are there.
			entry.Certificate, entry.Key = c.Chain, c.Key
			merged, err := mergeCertificate(raw, entry)
			list[i] = merged
			return list, err
		}
		raw, err := json.Marshal(c.json())
		return append(list, raw), err
	})
}

// mergeCertificate writes chain and key into an entry that keeps what we do not know of.
func mergeCertificate(raw json.RawMessage, entry *certificateJSON) (json.RawMessage, error) {
	o, err := parseObject(raw)
	if err != nil {
		return nil, err
	}
	for i, m := range o {
		switch {
		case bytes.EqualFold([]byte(m.key), []byte("certificate")):
			o[i].value, err = json.Marshal(entry.Certificate)
		case bytes.EqualFold([]byte(m.key), []byte("key")):
			o[i].value, err = json.Marshal(entry.Key)
		}
		if err != nil {
			return nil, err
		}
	}
	return o.MarshalJSON()
}

func (d document) certificates(resolver string, change func([]json.RawMessage) ([]json.RawMessage, error)) (document, error) {
	return d.edit(resolver, func(o *object) error {
		list, err := certificateList(*o)
		if err != nil {
			return err
		}
		if list, err = change(list); err != nil {
			return err
		}
		raw, err := json.Marshal(list)
		if err == nil {
			o.set(o.spelling("Certificates"), raw)
		}
		return err
	})
}

func (d document) without(resolver string, names []string) (document, error) {
	id := ID(names)
	d, err := d.certificates(resolver, func(list []json.RawMessage) ([]json.RawMessage, error) {
		kept := list[:0]
		for _, raw := range list {
			var entry *certificateJSON
			if err := json.Unmarshal(raw, &entry); err != nil {
				return nil, err
			}
			if entry == nil || ID(entry.certificate().Names()) != id {
				kept = append(kept, raw)
			}
		}
		return kept, nil
	})
	if err != nil {
		return d, err
	}
	return d.withState(resolver, func(s *stateJSON) { delete(s.Sets, id) })
}

func (d document) withState(resolver string, change func(s *stateJSON)) (document, error) {
	return d.edit(resolver, func(o *object) error {
		var s stateJSON
		if raw := o.field(stateKey); raw != nil {
			if err := json.Unmarshal(raw, &s); err != nil {
				return err
			}
		}
		if s.Sets == nil {
			s.Sets = map[string]*Set{}
		}
		change(&s)
		raw, err := json.Marshal(s)
		if err == nil {
			o.set(o.spelling(stateKey), raw)
		}
		return err
	})
}

// text writes the document as Traefik does: indented by two spaces.
func (d document) text() ([]byte, error) {
	raw, err := d.resolvers.MarshalJSON()
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := json.Indent(&b, raw, "", "  "); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
