"""Who is who: the cluster's CA, certificates, invitations, TLS contexts."""
