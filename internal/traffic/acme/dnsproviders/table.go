package dnsproviders

import (
	"github.com/go-acme/lego/v5/providers/dns/abion"
	"github.com/go-acme/lego/v5/providers/dns/acmedns"
	"github.com/go-acme/lego/v5/providers/dns/active24"
	"github.com/go-acme/lego/v5/providers/dns/allinkl"
	"github.com/go-acme/lego/v5/providers/dns/alwaysdata"
	"github.com/go-acme/lego/v5/providers/dns/anexia"
	"github.com/go-acme/lego/v5/providers/dns/artfiles"
	"github.com/go-acme/lego/v5/providers/dns/arvancloud"
	"github.com/go-acme/lego/v5/providers/dns/auroradns"
	"github.com/go-acme/lego/v5/providers/dns/autodns"
	"github.com/go-acme/lego/v5/providers/dns/axelname"
	"github.com/go-acme/lego/v5/providers/dns/beget"
	"github.com/go-acme/lego/v5/providers/dns/binarylane"
	"github.com/go-acme/lego/v5/providers/dns/bluecat"
	"github.com/go-acme/lego/v5/providers/dns/bluecatv2"
	"github.com/go-acme/lego/v5/providers/dns/bookmyname"
	"github.com/go-acme/lego/v5/providers/dns/bunny"
	"github.com/go-acme/lego/v5/providers/dns/checkdomain"
	"github.com/go-acme/lego/v5/providers/dns/civo"
	"github.com/go-acme/lego/v5/providers/dns/clouddns"
	"github.com/go-acme/lego/v5/providers/dns/cloudflare"
	"github.com/go-acme/lego/v5/providers/dns/cloudns"
	"github.com/go-acme/lego/v5/providers/dns/cloudpress"
	"github.com/go-acme/lego/v5/providers/dns/cloudru"
	"github.com/go-acme/lego/v5/providers/dns/com35"
	"github.com/go-acme/lego/v5/providers/dns/connbyte"
	"github.com/go-acme/lego/v5/providers/dns/conoha"
	"github.com/go-acme/lego/v5/providers/dns/conohav3"
	"github.com/go-acme/lego/v5/providers/dns/constellix"
	"github.com/go-acme/lego/v5/providers/dns/corenetworks"
	"github.com/go-acme/lego/v5/providers/dns/cpanel"
	"github.com/go-acme/lego/v5/providers/dns/curanet"
	"github.com/go-acme/lego/v5/providers/dns/czechia"
	"github.com/go-acme/lego/v5/providers/dns/dandomain"
	"github.com/go-acme/lego/v5/providers/dns/ddnss"
	"github.com/go-acme/lego/v5/providers/dns/derak"
	"github.com/go-acme/lego/v5/providers/dns/digitalocean"
	"github.com/go-acme/lego/v5/providers/dns/dinahosting"
	"github.com/go-acme/lego/v5/providers/dns/directadmin"
	"github.com/go-acme/lego/v5/providers/dns/dns51"
	"github.com/go-acme/lego/v5/providers/dns/dnscale"
	"github.com/go-acme/lego/v5/providers/dns/dnsexit"
	"github.com/go-acme/lego/v5/providers/dns/dnshomede"
	"github.com/go-acme/lego/v5/providers/dns/dnsla"
	"github.com/go-acme/lego/v5/providers/dns/dnsmadeeasy"
	"github.com/go-acme/lego/v5/providers/dns/dnsmint"
	"github.com/go-acme/lego/v5/providers/dns/dnsservices"
	"github.com/go-acme/lego/v5/providers/dns/dnsupdate"
	"github.com/go-acme/lego/v5/providers/dns/dode"
	"github.com/go-acme/lego/v5/providers/dns/domeneshop"
	"github.com/go-acme/lego/v5/providers/dns/dreamhost"
	"github.com/go-acme/lego/v5/providers/dns/duckdns"
	"github.com/go-acme/lego/v5/providers/dns/dyn"
	"github.com/go-acme/lego/v5/providers/dns/dynadot"
	"github.com/go-acme/lego/v5/providers/dns/dyndnsfree"
	"github.com/go-acme/lego/v5/providers/dns/dynu"
	"github.com/go-acme/lego/v5/providers/dns/easydns"
	"github.com/go-acme/lego/v5/providers/dns/edgecenter"
	"github.com/go-acme/lego/v5/providers/dns/efficientip"
	"github.com/go-acme/lego/v5/providers/dns/epik"
	"github.com/go-acme/lego/v5/providers/dns/eurodns"
	"github.com/go-acme/lego/v5/providers/dns/euserv"
	"github.com/go-acme/lego/v5/providers/dns/excedo"
	"github.com/go-acme/lego/v5/providers/dns/exec"
	"github.com/go-acme/lego/v5/providers/dns/f5xc"
	"github.com/go-acme/lego/v5/providers/dns/feno"
	"github.com/go-acme/lego/v5/providers/dns/fornex"
	"github.com/go-acme/lego/v5/providers/dns/freemyip"
	"github.com/go-acme/lego/v5/providers/dns/gandi"
	"github.com/go-acme/lego/v5/providers/dns/gandiv5"
	"github.com/go-acme/lego/v5/providers/dns/gcore"
	"github.com/go-acme/lego/v5/providers/dns/gehirn"
	"github.com/go-acme/lego/v5/providers/dns/gigahostno"
	"github.com/go-acme/lego/v5/providers/dns/glesys"
	"github.com/go-acme/lego/v5/providers/dns/gname"
	"github.com/go-acme/lego/v5/providers/dns/godaddy"
	"github.com/go-acme/lego/v5/providers/dns/godaddyv3"
	"github.com/go-acme/lego/v5/providers/dns/gravity"
	"github.com/go-acme/lego/v5/providers/dns/hetzner"
	"github.com/go-acme/lego/v5/providers/dns/hostingde"
	"github.com/go-acme/lego/v5/providers/dns/hostinger"
	"github.com/go-acme/lego/v5/providers/dns/hostingnl"
	"github.com/go-acme/lego/v5/providers/dns/hosttech"
	"github.com/go-acme/lego/v5/providers/dns/hostup"
	"github.com/go-acme/lego/v5/providers/dns/httpnet"
	"github.com/go-acme/lego/v5/providers/dns/httpreq"
	"github.com/go-acme/lego/v5/providers/dns/hurricane"
	"github.com/go-acme/lego/v5/providers/dns/hyperone"
	"github.com/go-acme/lego/v5/providers/dns/infoblox"
	"github.com/go-acme/lego/v5/providers/dns/infomaniak"
	"github.com/go-acme/lego/v5/providers/dns/internetbs"
	"github.com/go-acme/lego/v5/providers/dns/inwx"
	"github.com/go-acme/lego/v5/providers/dns/ionos"
	"github.com/go-acme/lego/v5/providers/dns/ionoscloud"
	"github.com/go-acme/lego/v5/providers/dns/ipv64"
	"github.com/go-acme/lego/v5/providers/dns/ispconfig"
	"github.com/go-acme/lego/v5/providers/dns/ispconfigddns"
	"github.com/go-acme/lego/v5/providers/dns/joker"
	"github.com/go-acme/lego/v5/providers/dns/katapult"
	"github.com/go-acme/lego/v5/providers/dns/keyhelp"
	"github.com/go-acme/lego/v5/providers/dns/leaseweb"
	"github.com/go-acme/lego/v5/providers/dns/liara"
	"github.com/go-acme/lego/v5/providers/dns/limacity"
	"github.com/go-acme/lego/v5/providers/dns/liquidweb"
	"github.com/go-acme/lego/v5/providers/dns/loopia"
	"github.com/go-acme/lego/v5/providers/dns/luadns"
	"github.com/go-acme/lego/v5/providers/dns/mailinabox"
	"github.com/go-acme/lego/v5/providers/dns/manageengine"
	"github.com/go-acme/lego/v5/providers/dns/manual"
	"github.com/go-acme/lego/v5/providers/dns/metaname"
	"github.com/go-acme/lego/v5/providers/dns/metaregistrar"
	"github.com/go-acme/lego/v5/providers/dns/mijnhost"
	"github.com/go-acme/lego/v5/providers/dns/mittwald"
	"github.com/go-acme/lego/v5/providers/dns/myaddr"
	"github.com/go-acme/lego/v5/providers/dns/mydnsjp"
	"github.com/go-acme/lego/v5/providers/dns/mythicbeasts"
	"github.com/go-acme/lego/v5/providers/dns/namecheap"
	"github.com/go-acme/lego/v5/providers/dns/namedotcom"
	"github.com/go-acme/lego/v5/providers/dns/namesilo"
	"github.com/go-acme/lego/v5/providers/dns/namesurfer"
	"github.com/go-acme/lego/v5/providers/dns/nearlyfreespeech"
	"github.com/go-acme/lego/v5/providers/dns/nederhost"
	"github.com/go-acme/lego/v5/providers/dns/neodigit"
	"github.com/go-acme/lego/v5/providers/dns/netcup"
	"github.com/go-acme/lego/v5/providers/dns/netcupv1"
	"github.com/go-acme/lego/v5/providers/dns/netlify"
	"github.com/go-acme/lego/v5/providers/dns/netnod"
	"github.com/go-acme/lego/v5/providers/dns/nexdns"
	"github.com/go-acme/lego/v5/providers/dns/ngenix"
	"github.com/go-acme/lego/v5/providers/dns/nicmanager"
	"github.com/go-acme/lego/v5/providers/dns/nicru"
	"github.com/go-acme/lego/v5/providers/dns/nifcloud"
	"github.com/go-acme/lego/v5/providers/dns/njalla"
	"github.com/go-acme/lego/v5/providers/dns/nodion"
	"github.com/go-acme/lego/v5/providers/dns/nordname"
	"github.com/go-acme/lego/v5/providers/dns/ns1"
	"github.com/go-acme/lego/v5/providers/dns/octenium"
	"github.com/go-acme/lego/v5/providers/dns/omglol"
	"github.com/go-acme/lego/v5/providers/dns/onecloudru"
	"github.com/go-acme/lego/v5/providers/dns/onlinenet"
	"github.com/go-acme/lego/v5/providers/dns/openprovider"
	"github.com/go-acme/lego/v5/providers/dns/opusdns"
	"github.com/go-acme/lego/v5/providers/dns/otc"
	"github.com/go-acme/lego/v5/providers/dns/ovh"
	"github.com/go-acme/lego/v5/providers/dns/pdns"
	"github.com/go-acme/lego/v5/providers/dns/plesk"
	"github.com/go-acme/lego/v5/providers/dns/pointdns"
	"github.com/go-acme/lego/v5/providers/dns/porkbun"
	"github.com/go-acme/lego/v5/providers/dns/poweradmin"
	"github.com/go-acme/lego/v5/providers/dns/primedns"
	"github.com/go-acme/lego/v5/providers/dns/rackspace"
	"github.com/go-acme/lego/v5/providers/dns/rage4"
	"github.com/go-acme/lego/v5/providers/dns/rainyun"
	"github.com/go-acme/lego/v5/providers/dns/rcodezero"
	"github.com/go-acme/lego/v5/providers/dns/regru"
	"github.com/go-acme/lego/v5/providers/dns/rimuhosting"
	"github.com/go-acme/lego/v5/providers/dns/route53"
	"github.com/go-acme/lego/v5/providers/dns/safedns"
	"github.com/go-acme/lego/v5/providers/dns/scaleway"
	"github.com/go-acme/lego/v5/providers/dns/scannet"
	"github.com/go-acme/lego/v5/providers/dns/selectel"
	"github.com/go-acme/lego/v5/providers/dns/selfhostde"
	"github.com/go-acme/lego/v5/providers/dns/selfhostdev2"
	"github.com/go-acme/lego/v5/providers/dns/servercow"
	"github.com/go-acme/lego/v5/providers/dns/shellrent"
	"github.com/go-acme/lego/v5/providers/dns/simply"
	"github.com/go-acme/lego/v5/providers/dns/sonic"
	"github.com/go-acme/lego/v5/providers/dns/spaceship"
	"github.com/go-acme/lego/v5/providers/dns/stackpath"
	"github.com/go-acme/lego/v5/providers/dns/syse"
	"github.com/go-acme/lego/v5/providers/dns/technitium"
	"github.com/go-acme/lego/v5/providers/dns/tele3"
	"github.com/go-acme/lego/v5/providers/dns/timewebcloud"
	"github.com/go-acme/lego/v5/providers/dns/todaynic"
	"github.com/go-acme/lego/v5/providers/dns/transip"
	"github.com/go-acme/lego/v5/providers/dns/uniteddomains"
	"github.com/go-acme/lego/v5/providers/dns/variomedia"
	"github.com/go-acme/lego/v5/providers/dns/veesp"
	"github.com/go-acme/lego/v5/providers/dns/vegadns"
	"github.com/go-acme/lego/v5/providers/dns/vercel"
	"github.com/go-acme/lego/v5/providers/dns/versio"
	"github.com/go-acme/lego/v5/providers/dns/vinyldns"
	"github.com/go-acme/lego/v5/providers/dns/virtualname"
	"github.com/go-acme/lego/v5/providers/dns/vscale"
	"github.com/go-acme/lego/v5/providers/dns/vultr"
	"github.com/go-acme/lego/v5/providers/dns/wannafind"
	"github.com/go-acme/lego/v5/providers/dns/webglobe"
	"github.com/go-acme/lego/v5/providers/dns/webnamesca"
	"github.com/go-acme/lego/v5/providers/dns/webnamesru"
	"github.com/go-acme/lego/v5/providers/dns/websupport"
	"github.com/go-acme/lego/v5/providers/dns/wedos"
	"github.com/go-acme/lego/v5/providers/dns/westcn"
	"github.com/go-acme/lego/v5/providers/dns/xinnet"
	"github.com/go-acme/lego/v5/providers/dns/yandex"
	"github.com/go-acme/lego/v5/providers/dns/yandex360"
	"github.com/go-acme/lego/v5/providers/dns/zilore"
	"github.com/go-acme/lego/v5/providers/dns/zoneedit"
	"github.com/go-acme/lego/v5/providers/dns/zoneee"
	"github.com/go-acme/lego/v5/providers/dns/zonomi"
)

// table lists the providers by the codes that dnsChallenge.provider knows, aliases among them. A new one is a line here and an
// import above.
func table() []row {
	return append(optional, []row{
		{"abion", from(abion.NewDNSProvider)},
		{"acme-dns", from(acmedns.NewDNSProvider)},
		{"acmedns", from(acmedns.NewDNSProvider)},
		{"active24", from(active24.NewDNSProvider)},
		{"allinkl", from(allinkl.NewDNSProvider)},
		{"alwaysdata", from(alwaysdata.NewDNSProvider)},
		{"anexia", from(anexia.NewDNSProvider)},
		{"artfiles", from(artfiles.NewDNSProvider)},
		{"arvancloud", from(arvancloud.NewDNSProvider)},
		{"auroradns", from(auroradns.NewDNSProvider)},
		{"autodns", from(autodns.NewDNSProvider)},
		{"axelname", from(axelname.NewDNSProvider)},
		{"beget", from(beget.NewDNSProvider)},
		{"binarylane", from(binarylane.NewDNSProvider)},
		{"bluecat", from(bluecat.NewDNSProvider)},
		{"bluecatv2", from(bluecatv2.NewDNSProvider)},
		{"bookmyname", from(bookmyname.NewDNSProvider)},
		{"bunny", from(bunny.NewDNSProvider)},
		{"checkdomain", from(checkdomain.NewDNSProvider)},
		{"civo", from(civo.NewDNSProvider)},
		{"clouddns", from(clouddns.NewDNSProvider)},
		{"cloudflare", from(cloudflare.NewDNSProvider)},
		{"cloudns", from(cloudns.NewDNSProvider)},
		{"cloudpress", from(cloudpress.NewDNSProvider)},
		{"cloudru", from(cloudru.NewDNSProvider)},
		{"com35", from(com35.NewDNSProvider)},
		{"connbyte", from(connbyte.NewDNSProvider)},
		{"conoha", from(conoha.NewDNSProvider)},
		{"conohav3", from(conohav3.NewDNSProvider)},
		{"constellix", from(constellix.NewDNSProvider)},
		{"corenetworks", from(corenetworks.NewDNSProvider)},
		{"cpanel", from(cpanel.NewDNSProvider)},
		{"curanet", from(curanet.NewDNSProvider)},
		{"czechia", from(czechia.NewDNSProvider)},
		{"dandomain", from(dandomain.NewDNSProvider)},
		{"ddnss", from(ddnss.NewDNSProvider)},
		{"derak", from(derak.NewDNSProvider)},
		{"digitalocean", from(digitalocean.NewDNSProvider)},
		{"dinahosting", from(dinahosting.NewDNSProvider)},
		{"directadmin", from(directadmin.NewDNSProvider)},
		{"dns51", from(dns51.NewDNSProvider)},
		{"dnscale", from(dnscale.NewDNSProvider)},
		{"dnsexit", from(dnsexit.NewDNSProvider)},
		{"dnshomede", from(dnshomede.NewDNSProvider)},
		{"dnsla", from(dnsla.NewDNSProvider)},
		{"dnsmadeeasy", from(dnsmadeeasy.NewDNSProvider)},
		{"dnsmint", from(dnsmint.NewDNSProvider)},
		{"dnsservices", from(dnsservices.NewDNSProvider)},
		{"dnsupdate", from(dnsupdate.NewDNSProvider)},
		{"dode", from(dode.NewDNSProvider)},
		{"domainnameshop", from(domeneshop.NewDNSProvider)},
		{"domeneshop", from(domeneshop.NewDNSProvider)},
		{"dreamhost", from(dreamhost.NewDNSProvider)},
		{"duckdns", from(duckdns.NewDNSProvider)},
		{"dyn", from(dyn.NewDNSProvider)},
		{"dynadot", from(dynadot.NewDNSProvider)},
		{"dyndnsfree", from(dyndnsfree.NewDNSProvider)},
		{"dynu", from(dynu.NewDNSProvider)},
		{"easydns", from(easydns.NewDNSProvider)},
		{"edgecenter", from(edgecenter.NewDNSProvider)},
		{"efficientip", from(efficientip.NewDNSProvider)},
		{"epik", from(epik.NewDNSProvider)},
		{"eurodns", from(eurodns.NewDNSProvider)},
		{"euserv", from(euserv.NewDNSProvider)},
		{"excedo", from(excedo.NewDNSProvider)},
		{"exec", from(exec.NewDNSProvider)},
		{"f5xc", from(f5xc.NewDNSProvider)},
		{"feno", from(feno.NewDNSProvider)},
		{"fornex", from(fornex.NewDNSProvider)},
		{"freemyip", from(freemyip.NewDNSProvider)},
		{"gandi", from(gandi.NewDNSProvider)},
		{"gandiv5", from(gandiv5.NewDNSProvider)},
		{"gcore", from(gcore.NewDNSProvider)},
		{"gehirn", from(gehirn.NewDNSProvider)},
		{"gigahostno", from(gigahostno.NewDNSProvider)},
		{"glesys", from(glesys.NewDNSProvider)},
		{"gname", from(gname.NewDNSProvider)},
		{"godaddy", from(godaddy.NewDNSProvider)},
		{"godaddyv3", from(godaddyv3.NewDNSProvider)},
		{"gravity", from(gravity.NewDNSProvider)},
		{"hetzner", from(hetzner.NewDNSProvider)},
		{"hostingde", from(hostingde.NewDNSProvider)},
		{"hostinger", from(hostinger.NewDNSProvider)},
		{"hostingnl", from(hostingnl.NewDNSProvider)},
		{"hosttech", from(hosttech.NewDNSProvider)},
		{"hostup", from(hostup.NewDNSProvider)},
		{"httpnet", from(httpnet.NewDNSProvider)},
		{"httpreq", from(httpreq.NewDNSProvider)},
		{"hurricane", from(hurricane.NewDNSProvider)},
		{"hyperone", from(hyperone.NewDNSProvider)},
		{"infoblox", from(infoblox.NewDNSProvider)},
		{"infomaniak", from(infomaniak.NewDNSProvider)},
		{"internetbs", from(internetbs.NewDNSProvider)},
		{"inwx", from(inwx.NewDNSProvider)},
		{"ionos", from(ionos.NewDNSProvider)},
		{"ionoscloud", from(ionoscloud.NewDNSProvider)},
		{"ipv64", from(ipv64.NewDNSProvider)},
		{"ispconfig", from(ispconfig.NewDNSProvider)},
		{"ispconfigddns", from(ispconfigddns.NewDNSProvider)},
		{"joker", from(joker.NewDNSProvider)},
		{"katapult", from(katapult.NewDNSProvider)},
		{"keyhelp", from(keyhelp.NewDNSProvider)},
		{"leaseweb", from(leaseweb.NewDNSProvider)},
		{"liara", from(liara.NewDNSProvider)},
		{"limacity", from(limacity.NewDNSProvider)},
		{"liquidweb", from(liquidweb.NewDNSProvider)},
		{"loopia", from(loopia.NewDNSProvider)},
		{"luadns", from(luadns.NewDNSProvider)},
		{"mailinabox", from(mailinabox.NewDNSProvider)},
		{"manageengine", from(manageengine.NewDNSProvider)},
		{"manual", from(manual.NewDNSProvider)},
		{"metaname", from(metaname.NewDNSProvider)},
		{"metaregistrar", from(metaregistrar.NewDNSProvider)},
		{"mijnhost", from(mijnhost.NewDNSProvider)},
		{"mittwald", from(mittwald.NewDNSProvider)},
		{"myaddr", from(myaddr.NewDNSProvider)},
		{"mydnsjp", from(mydnsjp.NewDNSProvider)},
		{"mythicbeasts", from(mythicbeasts.NewDNSProvider)},
		{"namecheap", from(namecheap.NewDNSProvider)},
		{"namedotcom", from(namedotcom.NewDNSProvider)},
		{"namesilo", from(namesilo.NewDNSProvider)},
		{"namesurfer", from(namesurfer.NewDNSProvider)},
		{"nearlyfreespeech", from(nearlyfreespeech.NewDNSProvider)},
		{"nederhost", from(nederhost.NewDNSProvider)},
		{"neodigit", from(neodigit.NewDNSProvider)},
		{"netcup", from(netcup.NewDNSProvider)},
		{"netcupv1", from(netcupv1.NewDNSProvider)},
		{"netlify", from(netlify.NewDNSProvider)},
		{"netnod", from(netnod.NewDNSProvider)},
		{"nexdns", from(nexdns.NewDNSProvider)},
		{"ngenix", from(ngenix.NewDNSProvider)},
		{"nicmanager", from(nicmanager.NewDNSProvider)},
		{"nicru", from(nicru.NewDNSProvider)},
		{"nifcloud", from(nifcloud.NewDNSProvider)},
		{"njalla", from(njalla.NewDNSProvider)},
		{"nodion", from(nodion.NewDNSProvider)},
		{"nordname", from(nordname.NewDNSProvider)},
		{"ns1", from(ns1.NewDNSProvider)},
		{"octenium", from(octenium.NewDNSProvider)},
		{"omglol", from(omglol.NewDNSProvider)},
		{"onecloudru", from(onecloudru.NewDNSProvider)},
		{"onlinenet", from(onlinenet.NewDNSProvider)},
		{"openprovider", from(openprovider.NewDNSProvider)},
		{"opusdns", from(opusdns.NewDNSProvider)},
		{"otc", from(otc.NewDNSProvider)},
		{"ovh", from(ovh.NewDNSProvider)},
		{"pdns", from(pdns.NewDNSProvider)},
		{"plesk", from(plesk.NewDNSProvider)},
		{"pointdns", from(pointdns.NewDNSProvider)},
		{"porkbun", from(porkbun.NewDNSProvider)},
		{"poweradmin", from(poweradmin.NewDNSProvider)},
		{"primedns", from(primedns.NewDNSProvider)},
		{"rackspace", from(rackspace.NewDNSProvider)},
		{"rage4", from(rage4.NewDNSProvider)},
		{"rainyun", from(rainyun.NewDNSProvider)},
		{"rcodezero", from(rcodezero.NewDNSProvider)},
		{"regru", from(regru.NewDNSProvider)},
		{"rfc2136", from(dnsupdate.NewDNSProvider)},
		{"rimuhosting", from(rimuhosting.NewDNSProvider)},
		{"route53", from(route53.NewDNSProvider)},
		{"safedns", from(safedns.NewDNSProvider)},
		{"scaleway", from(scaleway.NewDNSProvider)},
		{"scannet", from(scannet.NewDNSProvider)},
		{"selectel", from(selectel.NewDNSProvider)},
		{"selfhostde", from(selfhostde.NewDNSProvider)},
		{"selfhostdev2", from(selfhostdev2.NewDNSProvider)},
		{"servercow", from(servercow.NewDNSProvider)},
		{"shellrent", from(shellrent.NewDNSProvider)},
		{"simply", from(simply.NewDNSProvider)},
		{"sonic", from(sonic.NewDNSProvider)},
		{"spaceship", from(spaceship.NewDNSProvider)},
		//lint:ignore SA1019 the service has ended, but configurations that name it get its own error
		{"stackpath", from(stackpath.NewDNSProvider)},
		{"syse", from(syse.NewDNSProvider)},
		{"technitium", from(technitium.NewDNSProvider)},
		{"tele3", from(tele3.NewDNSProvider)},
		{"timewebcloud", from(timewebcloud.NewDNSProvider)},
		{"todaynic", from(todaynic.NewDNSProvider)},
		{"transip", from(transip.NewDNSProvider)},
		{"uniteddomains", from(uniteddomains.NewDNSProvider)},
		{"variomedia", from(variomedia.NewDNSProvider)},
		{"veesp", from(veesp.NewDNSProvider)},
		{"vegadns", from(vegadns.NewDNSProvider)},
		{"vercel", from(vercel.NewDNSProvider)},
		{"versio", from(versio.NewDNSProvider)},
		{"vinyldns", from(vinyldns.NewDNSProvider)},
		{"virtualname", from(virtualname.NewDNSProvider)},
		{"vscale", from(vscale.NewDNSProvider)},
		{"vultr", from(vultr.NewDNSProvider)},
		{"wannafind", from(wannafind.NewDNSProvider)},
		{"webglobe", from(webglobe.NewDNSProvider)},
		{"webnames", from(webnamesru.NewDNSProvider)},
		{"webnamesca", from(webnamesca.NewDNSProvider)},
		{"webnamesru", from(webnamesru.NewDNSProvider)},
		{"websupport", from(websupport.NewDNSProvider)},
		{"wedos", from(wedos.NewDNSProvider)},
		{"westcn", from(westcn.NewDNSProvider)},
		{"xinnet", from(xinnet.NewDNSProvider)},
		{"yandex", from(yandex.NewDNSProvider)},
		{"yandex360", from(yandex360.NewDNSProvider)},
		{"zilore", from(zilore.NewDNSProvider)},
		{"zoneedit", from(zoneedit.NewDNSProvider)},
		{"zoneee", from(zoneee.NewDNSProvider)},
		{"zonomi", from(zonomi.NewDNSProvider)},
	}...)
}
