/* A Modbus server made of libmodbus, for tests against parts that others wrote.
 * Arguments: tcp PORT | rtu PATH UNIT.  The word at an address is a function of unit, function code and address. */
#include <errno.h>
#include <modbus.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TABLE 8192

static uint16_t word(int unit, int function, int address)
{
    return (uint16_t)(unit * 257 + address * 7 + function);
}

static void fill(modbus_mapping_t *map, int unit)
{
    for (int n = 0; n < TABLE; n++) {
        map->tab_bits[n] = word(unit, 1, n) & 1;
        map->tab_input_bits[n] = word(unit, 2, n) & 1;
        map->tab_registers[n] = word(unit, 3, n);
        map->tab_input_registers[n] = word(unit, 4, n);
    }
}

static void serve(modbus_t *ctx, modbus_mapping_t *map)
{
    uint8_t query[MODBUS_TCP_MAX_ADU_LENGTH];
    int header = modbus_get_header_length(ctx);
    for (;;) {
        int length = modbus_receive(ctx, query);
        if (length > 0) {
            fill(map, query[header - 1]);
            modbus_reply(ctx, query, length, map);
        } else if (length < 0 && errno != EMBBADCRC) {
            return;
        }
    }
}

int main(int argc, char **argv)
{
    if (argc < 3) return 2;
    modbus_mapping_t *map = modbus_mapping_new(TABLE, TABLE, TABLE, TABLE);
    if (strcmp(argv[1], "tcp") == 0) {
        modbus_t *ctx = modbus_new_tcp("127.0.0.1", atoi(argv[2]));
        int listener = modbus_tcp_listen(ctx, 1);
        if (listener < 0) return 1;
        puts("ready");
        fflush(stdout);
        for (;;) {
            if (modbus_tcp_accept(ctx, &listener) < 0) return 1;
            serve(ctx, map);
        }
    }
    modbus_t *ctx = modbus_new_rtu(argv[2], 115200, 'N', 8, 1);
    modbus_set_slave(ctx, atoi(argv[3]));
    if (modbus_connect(ctx) < 0) return 1;
    puts("ready");
    fflush(stdout);
    for (;;) serve(ctx, map);
}
