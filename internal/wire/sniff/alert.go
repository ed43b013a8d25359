package sniff

// Error says why bytes are not an acceptable ClientHello, and which TLS alert tells the client so.
type Error struct {
	// Alert is the code of the fatal alert (RFC 8446 6).
	Alert uint8
	// Reason is for the log, lower case.
	Reason string
}

// Error implements error.
func (e *Error) Error() string { return "client hello: " + e.Reason }

// Record returns the alert as a record to send before the connection is closed.
func (e *Error) Record() [7]byte {
	// RFC 8446 5.1: the record version of a first flight is 3.1 to 3.3; 3.1 is understood by all.
	return [7]byte{recordAlert, 3, 1, 0, 2, 2, e.Alert}
}

const (
	alertUnexpectedMessage = 10
	alertRecordOverflow    = 22
	alertIllegalParameter  = 47
	alertDecodeError       = 50
	alertProtocolVersion   = 70
)

// The errors of ClientHello. They are fixed values, so that refusing costs nothing.
var (
	ErrTooLarge      = &Error{alertDecodeError, "larger than 64 KiB"}
	ErrVersion       = &Error{alertProtocolVersion, "record version is not TLS"}
	ErrRecordSize    = &Error{alertRecordOverflow, "record longer than 16 KiB"}
	ErrEmptyRecord   = &Error{alertUnexpectedMessage, "empty handshake record"}
	ErrContentType   = &Error{alertUnexpectedMessage, "another record before its end"}
	ErrMessageType   = &Error{alertUnexpectedMessage, "handshake message is not a ClientHello"}
	ErrTruncated     = &Error{alertDecodeError, "a length runs over the end"}
	ErrTrailing      = &Error{alertDecodeError, "bytes behind the extensions"}
	ErrSessionID     = &Error{alertDecodeError, "session id longer than 32 bytes"}
	ErrCipherSuites  = &Error{alertDecodeError, "cipher suite list is empty or odd"}
	ErrCompression   = &Error{alertDecodeError, "no compression method"}
	ErrDuplicate     = &Error{alertIllegalParameter, "an extension appears twice"}
	ErrAfterPSK      = &Error{alertIllegalParameter, "pre_shared_key is not the last extension"}
	ErrServerName    = &Error{alertDecodeError, "malformed server_name list"}
	ErrProtocols     = &Error{alertDecodeError, "malformed protocol list"}
	ErrVersionsField = &Error{alertDecodeError, "malformed supported_versions"}
)
