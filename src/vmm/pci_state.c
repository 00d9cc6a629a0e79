/* The bus's state: config spaces, where BARs are decoded, MSI-X. See state.h. */
#include "vmm/pci_internal.h"

#include <string.h>

struct pci_vector_state {
	uint64_t address;
	uint32_t data;
	uint8_t masked, pending; /* 0 or 1 */
	uint8_t zero[2];
};

struct pci_slot_state {
	uint8_t present; /* 0 or 1; 0: all else is zero */
	uint8_t decoded; /* bit per BAR: it is decoded where its register says */
	uint8_t zero[2];
	uint32_t n_vectors;
	uint8_t config[PCI_CONFIG_SIZE];
	struct pci_vector_state vector[MSIX_VECTORS];
};

struct pci_state {
	struct state_head head;
	uint32_t address; /* port 0xcf8 */
	uint32_t zero;
	struct pci_slot_state slot[PCI_SLOTS];
};

_Static_assert(sizeof(struct pci_slot_state) == 8 + PCI_CONFIG_SIZE + 16 * MSIX_VECTORS, "no holes");

uint32_t pci_save(struct pci_bus *bus, void *to, uint32_t size)
{
	struct pci_state state = { 0 };
	pthread_mutex_lock(&bus->lock);
	state.address = bus->address;
	for (int s = 0; s < PCI_SLOTS; s++) {
		struct pci_device *device = bus->slot[s];
		struct pci_slot_state *slot = &state.slot[s];
		if (device == NULL)
			continue;
		slot->present = 1;
		memcpy(slot->config, device->config, PCI_CONFIG_SIZE);
		for (int b = 0; b < PCI_BARS; b++)
			if (device->bar[b].size && device->bar[b].gpa != PCI_BAR_UNMAPPED)
				slot->decoded |= (uint8_t)(1u << b);
		pthread_mutex_lock(&device->msix.lock);
		slot->n_vectors = device->msix.n_vectors;
		for (uint32_t i = 0; i < slot->n_vectors; i++) {
			const struct msix_vector *vector = &device->msix.vector[i];
			slot->vector[i] = (struct pci_vector_state){
				.address = vector->address, .data = vector->data, .masked = vector->masked, .pending = vector->pending,
			};
		}
		pthread_mutex_unlock(&device->msix.lock);
	}
	pthread_mutex_unlock(&bus->lock);
	return state_put(to, size, &state, sizeof(state), STATE_PCI, PCI_STATE_VERSION);
}

/* Whether the slot's state could be this device's: only bits that a guest may write differ from it. */
static bool slot_fits(const struct pci_device *device, const struct pci_slot_state *untrusted)
{
	if (device == NULL)
		return state_is_zero(untrusted, sizeof(*untrusted));
	const struct msix *msix = &device->msix;
	if (untrusted->present != 1 || untrusted->n_vectors != msix->n_vectors || !state_is_zero(untrusted->zero, sizeof(untrusted->zero)))
		return false;
	for (uint32_t i = 0; i < PCI_CONFIG_SIZE; i++)
		if ((untrusted->config[i] ^ device->config[i]) & ~device->writable[i])
			return false;
	for (uint32_t i = 0; i < untrusted->n_vectors; i++) {
		const struct pci_vector_state *vector = &untrusted->vector[i];
		if (vector->masked > 1 || vector->pending > 1 || vector->address % 4 != 0 || !state_is_zero(vector->zero, sizeof(vector->zero)))
			return false;
	}
	return state_is_zero(untrusted->vector + untrusted->n_vectors, sizeof(untrusted->vector[0]) * (MSIX_VECTORS - untrusted->n_vectors));
}

static bool load(struct pci_bus *bus, const struct pci_state *untrusted)
{
	if (untrusted->zero != 0)
		return false;
	for (int s = 0; s < PCI_SLOTS; s++)
		if (!slot_fits(bus->slot[s], &untrusted->slot[s]))
			return false;
	bus->address = untrusted->address;
	for (int s = 0; s < PCI_SLOTS; s++) {
		struct pci_device *device = bus->slot[s];
		const struct pci_slot_state *slot = &untrusted->slot[s];
		if (device == NULL)
			continue;
		memcpy(device->config, slot->config, PCI_CONFIG_SIZE);
		if (!pci_place_bars(bus, device, slot->decoded))
			return false;
		pthread_mutex_lock(&device->msix.lock);
		for (uint32_t i = 0; i < slot->n_vectors; i++) {
			struct msix_vector *vector = &device->msix.vector[i];
			vector->address = slot->vector[i].address;
			vector->data = slot->vector[i].data;
			vector->masked = slot->vector[i].masked;
			vector->pending = slot->vector[i].pending;
		}
		pthread_mutex_unlock(&device->msix.lock);
		/* Last: what is pending and not masked is sent when MSI-X is found enabled. */
		if (device->msix.n_vectors)
			msix_config_written(device, device->msix.capability, 4);
	}
	return true;
}

bool pci_load(struct pci_bus *bus, const void *from, uint32_t size)
{
	struct pci_state untrusted;
	pci_bus_reset(bus);
	if (!state_get(&untrusted, sizeof(untrusted), STATE_PCI, PCI_STATE_VERSION, from, size))
		return false;
	pthread_mutex_lock(&bus->lock);
	bool loaded = load(bus, &untrusted);
	pthread_mutex_unlock(&bus->lock);
	if (!loaded)
		pci_bus_reset(bus);
	return loaded;
}
